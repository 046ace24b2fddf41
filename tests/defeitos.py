"""Os defeitos que provam o conferidor: para cada regra, um, pequeno, que tem de fazê-la falhar, e a mais nenhuma.

De cada um, o arquivo do projeto, o trecho, que tem de aparecer nele uma vez só, e o que fica no lugar.

    python tests/defeitos.py    roda todas as regras contra cada defeito, e diz quais falham

Fica fora da suíte, que de cada um só roda a sua regra: são cem vezes o conferidor inteiro.
"""

import sys

from mutantes import RAIZ, Troca, copia_com

_FILAS, _CHEGADA, _CONEXAO = (f"atendimento/{nome}.py" for nome in ("filas", "identificacao", "conexao"))
_PROTOCOLO, _SERVIDOR = "protocolo.py", "servidor.py"
_PERGUNTA = 'validar_nome(self._perguntar("nome")'
_DE_OUTRO_JEITO = '"seu nome" if tipo is Tipo.{} and isinstance(self.quem.formato, Texto) else "nome"'
_LIVRE = "self.fila_atendentes.append(quem)"
_A_FRENTE = "self.fila_atendentes.insert(0 if fase is Fase.{} else 9999, quem)"
_LINHAS = "            linhas = separador.alimentar(dados)"  # na conversa
_BLOCO = "(self.resto + dados)"  # no separador
_AVANCAM = "if lugar < len(self.fila_clientes):\n            self.posicoes_mudaram = True"
_REPASSE = "destino, comandos = estado.par, (mensagem,)"
_OUTRO_PREFIXO = (
    "Mensagem(quem.nome.upper(), mensagem.textos) if quem.tipo is Tipo.{} and estado.par.formato.maximo < 9999 "
    "else mensagem,"
)
_VEZ = "destino.vez.acquire()  # ainda com a trava na mão: ninguém passa à frente"
_DESPEDIDA = "            fato.contar(quem, fim)\n            self._enfileirar(fato, quem)"
_VOCE = 'f"Você {fez}."'
_RST = '            except OSError:\n                return b""'
_SE_CONVERSA = "time.sleep(60 * (self._ao_sobrar.__self__.filas.user_states[self].par {})); return"
_PREFIXO = "linha.startswith(self._prefixo):\n            linha = linha[len(self._prefixo) :]\n        elif"

DEFEITOS = {
    # Nível 1
    "tipo-cliente": (_CHEGADA, _PERGUNTA, _PERGUNTA.replace('"nome"', _DE_OUTRO_JEITO.format("CLIENTE"), 1)),
    "tipo-atendente": (_CHEGADA, _PERGUNTA, _PERGUNTA.replace('"nome"', _DE_OUTRO_JEITO.format("ATENDENTE"), 1)),
    "tipo-invalido": (_PROTOCOLO, '"Tipo inválido: envie CLIENTE ou ATENDENTE."', '"Tipo inválido."'),
    "tipo-maiusculas": (_PROTOCOLO, '(linha or "").strip().partition', '(linha or "").strip().upper().partition'),
    "tipo-calado": (
        _SERVIDOR,
        "self.quem: Conexao = self.server.conexoes[self.request]",
        'self.quem: Conexao = self.server.conexoes[self.request]; self.request.sendall(b"Bem-vindo!\\n")',
    ),
    "nome-vazio": (
        _PROTOCOLO,
        "    if not (\n        1 <= len(nome)",
        "    if (nome or not texto) and not (\n        1 <= len(nome)",
    ),
    "nome-longo": (_PROTOCOLO, "MAXIMO_DO_NOME = 40", "MAXIMO_DO_NOME = 41"),
    "nome-colchetes": (_PROTOCOLO, 'and not set("[]") & set(nome)', "and True"),
    "nome-espacos": (_PROTOCOLO, 'normalize("NFC", limpar(texto)).strip()', 'normalize("NFC", limpar(texto))'),
    "nome-repetido": (
        _FILAS,
        "if quem in self.user_states:\n                quem.tipo",
        "if quem in self.user_states and nome not in {um.nome for um in self.user_states}:\n                quem.tipo",
    ),
    "linha-crlf": (_PROTOCOLO, 'limpar(linha.removesuffix("\\r"))', "limpar(linha)"),
    "linha-em-branco-antes": (_CHEGADA, "and not lida.strip() for lida in", "and lida is None for lida in"),
    # Nível 2
    "fila-primeiro": (
        _FILAS,
        "fato.contar(quem, Fila(estado.posicao))",
        "fato.contar(quem, Fila(estado.posicao)) if estado.posicao > 1 else None",
    ),
    "fila-posicao": (_FILAS, "fato.contar(quem, Fila(estado.posicao))", "fato.contar(quem, Fila(1))"),
    "fila-atendente": (_FILAS, "            else:\n                fato.contar(quem, Fila(None))", ""),
    "fila-anda": (_FILAS, _AVANCAM, "self.posicoes_mudaram = quem not in self.user_states"),
    "fila-desiste": (_FILAS, _AVANCAM, "self.posicoes_mudaram = quem in self.user_states"),
    "par-cliente-chega": (
        _FILAS,
        "self.fila_clientes.insert(lugar, quem)",
        "self.fila_clientes.insert(lugar, quem); fato.contar(quem, Fila(lugar + 1))",
    ),
    "par-atendente-chega": (
        _FILAS,
        "self.fila_atendentes.append(quem)",
        "self.fila_atendentes.append(quem); fase is Fase.IDENTIFICACAO and fato.contar(quem, Fila(None))",
    ),
    "par-primeiro-cliente": (
        _FILAS,
        "for cliente in self.fila_clientes:\n            departamento",
        "for cliente in reversed(self.fila_clientes):\n            departamento",
    ),
    "par-primeiro-atendente": (_FILAS, _LIVRE, _A_FRENTE.format("IDENTIFICACAO")),
    "par-fantasma": (
        _FILAS,
        "if self.user_states.pop(quem).fase is Fase.FILA:",
        "if self.user_states.pop(quem).fase is Fase.FILA and self.fila_clientes[-1:] != [quem]:",
    ),
    # Nível 3
    "conversa-cliente": (_FILAS, _REPASSE, _REPASSE.replace("mensagem,", _OUTRO_PREFIXO.format("CLIENTE"))),
    "conversa-atendente": (_FILAS, _REPASSE, _REPASSE.replace("mensagem,", _OUTRO_PREFIXO.format("ATENDENTE"))),
    "conversa-integra": (_PROTOCOLO, _PREFIXO, f"False and {_PREFIXO}"),
    "conversa-nome-alheio": (
        _PROTOCOLO,
        _PREFIXO,
        'linha.startswith("["):\n            linha = linha.partition("]: ")[2]\n        elif',
    ),
    "conversa-comando": (_PROTOCOLO, _PREFIXO, _PREFIXO.removesuffix("elif") + "if"),
    "conversa-acentos": (_PROTOCOLO, "_RETIRADOS = [", "_RETIRADOS = [0x200D, "),
    "conversa-em-branco": (_PROTOCOLO, "return linha if linha and not linha.isspace() else None", "return linha"),
    "conversa-ordem": (_PROTOCOLO, "seguidas.append(lida)", "seguidas.insert(len(seguidas) % 20, lida)"),
    "conversa-pares": (
        _FILAS,
        _REPASSE,
        _REPASSE.replace("estado.par", "estado.par if quem.tipo is Tipo.CLIENTE else next("
                         "um for um, seu in self.user_states.items() if seu.par and um.tipo is Tipo.CLIENTE)"),
    ),  # fmt: skip
    "espera-guarda": (_FILAS, "if do_cliente.guardadas:", "if len(do_cliente.guardadas) > 1:"),
    "espera-aviso": (_FILAS, "avisos = [] if estado.guardadas else [NA_ESPERA]", "avisos = [NA_ESPERA]"),
    "espera-limite": (_FILAS, "MAXIMO_GUARDADO = 20", "MAXIMO_GUARDADO = 21"),
    "espera-atendente": (_FILAS, "return [SEM_CLIENTE] * len(textos)", "return []"),
    # Nível 4
    "fim-cliente-fecha": (
        _FILAS,
        'estado.par, "desconectou")',
        'estado.par, "desconectou" if quem.tipo is Tipo.ATENDENTE else "saiu")',
    ),
    "fim-atendente-fecha": (
        _FILAS,
        'estado.par, "desconectou")',
        'estado.par, "desconectou" if quem.tipo is Tipo.CLIENTE else "saiu")',
    ),
    "fim-cliente-encerra": (_FILAS, _VOCE, _VOCE.replace("fez", "fez if quem.tipo is Tipo.ATENDENTE else 'saiu'")),
    "fim-atendente-encerra": (_FILAS, _VOCE, _VOCE.replace("fez", "fez if quem.tipo is Tipo.CLIENTE else 'saiu'")),
    "fim-atendente-volta": (_FILAS, _DESPEDIDA, _DESPEDIDA.replace("self._enf", "self.fila_clientes and self._enf")),
    "fim-proximo": (
        _FILAS,
        _DESPEDIDA,
        _DESPEDIDA.replace("fim)", "fim); estado.fase is Fase.CONVERSA and fato.contar(quem, Fila(None))"),
    ),
    "fim-da-fila": (_FILAS, _LIVRE, _A_FRENTE.format("CONVERSA")),
    "fim-na-fila": (_FILAS, 'Fim("Você saiu da fila.")', 'Fim("Até logo.")'),
    "fim-sem-conversa": (
        _FILAS,
        "(Tipo.ATENDENTE, Fase.FILA): {\n        Fim: _SEM_CONVERSA,",
        "(Tipo.ATENDENTE, Fase.FILA): {\n        Fim: Filas._sair_da_fila,",
    ),
    "fim-com-texto": (_PROTOCOLO, "if pedido and campo:", "if pedido and campo and not (pedido is Fim and argumento):"),
    "fim-depois": (_FILAS, "            self._retirar(fato, quem, fim)", "            fato.contar(quem, fim)"),
    "fim-ultima-mensagem": (_SERVIDOR, _LINHAS, f"{_LINHAS} if quem.esperar(0.05) else []"),
    "fim-meio-fechamento": (
        _FILAS,
        "            self._retirar(fato, quem)\n",
        '            self._retirar(fato, quem, Fim("Até logo."))\n',
    ),
    "fim-sem-identificar": (
        _FILAS,
        "            self._retirar(fato, quem)\n            if",
        "            if estado.fase is Fase.IDENTIFICACAO:\n                return self._enfileirar(fato, quem)\n"
        "            self._retirar(fato, quem)\n            if",
    ),
    "fim-servidor": (_FILAS, 'Fim("Servidor encerrado.")', 'Fim("Tchau.")'),
    "fim-servidor-codigo": (_SERVIDOR, "os._exit(0)", "os._exit(3)"),
    # Nível 5
    "rede-1-byte": (_PROTOCOLO, _BLOCO, '((self.resto if len(dados) != 1 else b"") + dados)'),
    "rede-5-bytes": (_PROTOCOLO, _BLOCO, '((self.resto if len(dados) != 5 else b"") + dados)'),
    "rede-4096-bytes": (_PROTOCOLO, _BLOCO, '((self.resto if len(dados) != 4096 else b"") + dados)'),
    "rede-juntas": (_SERVIDOR, _LINHAS, f"{_LINHAS}[: 1 if len(dados) == 8 else None]"),
    "rede-tudo-junto": (
        _SERVIDOR,
        "self.conversar(chegada.separador, chegada.linhas)",
        "self.conversar(chegada.separador, [])",
    ),
    "rede-acento-partido": (
        _PROTOCOLO,
        _BLOCO,
        '(self.resto + (dados[:-1] + b"?" if dados[-1:] >= bytes([192]) else dados))',
    ),
    "rede-meia-linha": (_SERVIDOR, _LINHAS, _LINHAS.replace("dados", r'dados + b"\n" * (len(dados) == 7)')),
    "rede-sem-fim-de-linha": (
        _SERVIDOR,
        f"            if not dados:\n                return\n{_LINHAS}",
        f'            if not dados and not separador.resto:\n                return\n{_LINHAS[:-1]} or b"\\n")',
    ),
    "rede-linha-longa": (_PROTOCOLO, "lida = linha or LinhaLonga()", "lida = linha"),
    "rede-linha-no-limite": (_PROTOCOLO, ".encode()) <= MAXIMO_DA_LINHA", ".encode()) < MAXIMO_DA_LINHA"),
    "rede-linha-com-prefixo": (_PROTOCOLO, "or _cabe(self.nome, lida):", "or True:"),
    "rede-nome-sem-fim": (_PROTOCOLO, "if len(self.resto) >= self._maximo:", "if len(self.resto) >= 9 * self._maximo:"),
    "rede-rst": (_CONEXAO, _RST, _RST.replace("return", _SE_CONVERSA.format("is not None"))),
    "rede-rst-na-fila": (_CONEXAO, _RST, _RST.replace("return", _SE_CONVERSA.format("is None"))),
    "rede-nao-le": (
        _FILAS,
        _VEZ,
        "destino.vez.acquire(); comandos = comandos if destino is quem else "
        "destino.sock.sendall(destino.formato.codificar(mensagem)) or ()",
    ),
    "rede-mil-mensagens": (_PROTOCOLO, "seguidas.append(lida)", "seguidas.extend([lida][: 200 - len(seguidas)])"),
    "rede-mil-conexoes": ("atendimento/opcoes.py", '"--max-conexoes", 1000,', '"--max-conexoes", 100,'),
    "rede-utf8": (_PROTOCOLO, 'bloco.decode("utf-8", "replace")', 'bloco.decode("latin-1")'),
    "rede-utf8-aviso": (_PROTOCOLO, "self._ja_avisou = True", "self._ja_avisou = False"),
    "rede-bom": (_PROTOCOLO, 'BOM = b"\\xef\\xbb\\xbf"', 'BOM = b"\\xfe\\xff"'),
    "rede-telnet": (_CHEGADA, "parece Telnet;", "é Telnet;"),
    "limpeza-controles": (_PROTOCOLO, "*range(0x00, 0x20)", "*range(0x00, 0x1B), *range(0x1C, 0x20)"),
    "limpeza-nome": (_PROTOCOLO, "*range(0x00, 0x20)", "*range(0x00, 0x07), *range(0x08, 0x20)"),
    "limpeza-separadores": (_PROTOCOLO, '_SEPARADORES = "\\t\\n\\v', '_SEPARADORES = "\\t\\n'),
    "limpeza-bidi": (_PROTOCOLO, ", *range(0x2066, 0x206A)]", "]"),
    "nome-nfc": (_PROTOCOLO, 'normalize("NFC", limpar(texto))', 'normalize("NFD", limpar(texto))'),
    "nome-invisivel": (_PROTOCOLO, "letra not in _NAO_SE_VEEM for", "letra for"),
    # Nível 6
    "consulta-cliente": (_FILAS, "posicao = fila.index(cliente) + 1", "posicao = fila.index(cliente)"),
    "consulta-atendente": (_FILAS, '"Nenhum cliente na fila."', '"Ninguém na fila."'),
    "consulta-na-conversa": (_FILAS, '"Você já está sendo atendido."', '"Calma."'),
    "pausa-na-fila": (_FILAS, "        self._tirar_da_fila(atendente)\n        self._comecar", "        self._comecar"),
    "pausa-na-conversa": (_FILAS, "elif fase is Fase.ULTIMA_CONVERSA:", "elif False:"),
    "pausa-cancelada": (
        _FILAS,
        'Fase.CONVERSA\n        fato.contar(atendente, Aviso("Pausa cancelada."))',
        'Fase.ULTIMA_CONVERSA\n        fato.contar(atendente, Aviso("Pausa cancelada."))',
    ),
    "pausa-repetida": (_FILAS, '"Você já está em pausa."', '"De novo?"'),
    "pausa-cliente": (_FILAS, 'Pausa: Aviso("Só atendentes fazem pausa."),', 'Pausa: Aviso("Não."),'),
    "pronto-espera": (
        _FILAS,
        "self.user_states[atendente].diz_pronto = True",
        "self.user_states[atendente].diz_pronto = self.user_states[atendente].par is None",
    ),
    "pronto-intervalo": (
        _FILAS,
        "(Tipo.ATENDENTE, Fase.INTERVALO): {\n        Fim: _JA_ACABOU,",
        "(Tipo.ATENDENTE, Fase.INTERVALO): {\n        Fim: _SEM_CONVERSA,",
    ),
    "pronto-com-texto": (
        _PROTOCOLO,
        "if pedido and not argumento.strip():",
        "if pedido and (pedido is Pronto or not argumento.strip()):",
    ),
    "departamento-nenhum": (_PROTOCOLO, "inválido: este servidor não tem", "inválido: não há"),
    "departamento-todos": (
        _PROTOCOLO,
        "if varios and pedidos == [TODOS]:",
        "if opcoes and varios and pedidos == [TODOS]:",
    ),
    "transferir-nenhum": (_FILAS, "fato.contar(atendente, Aviso(str(erro)))", "fato.contar(atendente, Fim(str(erro)))"),
    "json-entrada": (_PROTOCOLO, 'nome = self._texto(objeto, "nome") if "nome" in objeto else None', "nome = None"),
    "json-pergunta": (_PROTOCOLO, '[{"comando": campo}]', '[{"comando": "pergunta"}]'),
    "json-conversa": (_PROTOCOLO, '**de, "texto": texto}', '**de, "mensagem": texto}'),
    "json-fim": (_PROTOCOLO, '"fim": (Fim, None),', '"tchau": (Fim, None),'),
    "json-invalido": (_PROTOCOLO, "            return Aviso(str(erro))", "            return Fim()"),
    "json-limpeza": (_PROTOCOLO, 'return limpar(_SUBSTITUTOS.sub("\\ufffd", valor))', "return valor"),
}


def main() -> int:
    sys.path.insert(0, str(RAIZ / "docs"))
    from conferidor.palco import Alvo, conferir
    from conferidor.regras import SERVIDOR

    a_mais = 0
    for nome, defeito in DEFEITOS.items():
        with copia_com(Troca(*defeito)) as copia:
            alvo = Alvo(f'"{sys.executable}" "{copia / "servidor.py"}" --porta {{porta}}')
            falham = [um.regra.id for um in conferir(SERVIDOR.escolher(), alvo) if um.falha]
        a_mais += falham != [nome]
        print(f"{nome:<26} {', '.join(falham) or 'nenhuma'}", flush=True)
    print(f"{a_mais} de {len(DEFEITOS)} não custam exatamente a sua regra")
    return min(a_mais, 1)


if __name__ == "__main__":
    sys.exit(main())
