"""O que trafega entre os programas: comandos, linhas e limpeza de texto.

Este módulo é puro: não abre sockets nem cria threads. Bytes entram, comandos saem; comandos
entram, bytes saem. O caminho de uma linha que chega é

    bytes do recv  ->  SeparadorDeLinhas  ->  linhas de texto limpo  ->  Formato.ler_*  ->  comandos

e o de uma linha que sai é `Formato.codificar(comando)`. Há dois formatos de fio, `Texto` (os
prefixos `FILA:`, `CONECTADO:` e `FIM:` da seção 2 do relatório) e `Json` (o que a seção 4 dele
gostaria de ter feito). Fora daqui ninguém sabe qual está em uso: o resto do projeto só conhece os
tipos desta página.
"""

import enum
import itertools
import json
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

PORTA_PADRAO = 12345
"""A porta TCP do relatório."""

MAXIMO_DA_LINHA = 4096
"""Bytes de uma linha, contando o `\\n` e o `\\r`: o bastante para uma mensagem comprida, e pouco
o bastante para que ninguém ocupe a memória do servidor com uma linha que não acaba."""

MAXIMO_DO_NOME = 40
"""Caracteres de um nome, de pessoa ou de departamento, depois da limpeza."""

MAXIMO_DO_FATO = 64 * 1024
"""Bytes que as mensagens de um fato podem ocupar na saída. Um `recv` cheio de linhas de um caractere viraria megabytes
depois de cada uma ganhar o nome de quem falou; em JSON, com os escapes, pode chegar ao dobro disto."""

BOM = b"\xef\xbb\xbf"
"""O que há quem ponha antes de tudo o que escreve em UTF-8. No começo da conexão, não é texto."""

SENHA_OCULTA = "••••"
"""O que se mostra no lugar de uma senha."""

SENHA_INCORRETA = "Senha incorreta."
PRAZO_ESGOTADO = "Tempo de identificação esgotado"
"""Recusas que os programas reconhecem: a primeira, inteira; da segunda, o começo."""

TODOS = "*"
"""Todos os departamentos: só um atendente pode escolhê-los."""


# --- Texto de usuário ---------------------------------------------------------------------------

# Um controle apaga a tela ou muda as cores de quem lê; um controle bidirecional faz o texto
# parecer o que não é. O que separa palavras ou linhas vira um espaço: retirado, ele as colaria.
_RETIRADOS = [*range(0x00, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SEPARADORES = "\t\n\v\f\r\x85\u2028\u2029"
_LIMPEZA = dict.fromkeys(_RETIRADOS) | dict.fromkeys(map(ord, _SEPARADORES), " ")


def limpar(texto: str) -> str:
    """Devolve `texto` sem controles (categoria Cc) nem controles bidirecionais.

    TAB, CR, LF, VT, FF, U+0085, U+2028 e U+2029 viram um espaço cada um. Acentos, emojis e o ZWJ que
    os une (U+200D) passam intactos.
    """
    return texto.translate(_LIMPEZA)


def normalizar(texto: str) -> str:
    """Devolve `texto` limpo, sem espaços nas pontas e em NFC: o "é" é um só, de que teclado tiver vindo."""
    return unicodedata.normalize("NFC", limpar(texto)).strip()


# São letras ou símbolos para o Unicode, mas não desenham nada.
_NAO_SE_VEEM = "\u115f\u1160\u2800\u3164\uffa0"
_ZWJ = "\u200d"
_VARIANTE_COLORIDA = "\ufe0f"  # vem depois de um símbolo, que passa a ser um emoji
_MARCAS_SEGUIDAS = 4  # combinantes, no máximo: dezenas delas cobrem as linhas vizinhas


def validar_nome(texto: str) -> str:
    """Devolve o nome, normalizado, ou levanta `ValueError` se ele não serve.

    Servem de 1 a 40 caracteres, ao menos um que se veja, sem colchetes, que separam o nome da mensagem no fio; sem os
    invisíveis com que um nome se faz passar por outro, nem pilhas de marcas.
    """
    nome = normalizar(texto)
    tipos = [unicodedata.category(letra)[0] for letra in nome]  # só a classe: L, M, N, P, S, Z, C
    if not (
        1 <= len(nome) <= MAXIMO_DO_NOME
        and not set("[]") & set(nome)
        and any(tipo in "LNPS" and letra not in _NAO_SE_VEEM for letra, tipo in zip(nome, tipos))
        and "M" * (_MARCAS_SEGUIDAS + 1) not in "".join(tipos)
        and all(_une_emojis(nome, lugar) for lugar, letra in enumerate(nome) if unicodedata.category(letra) == "Cf")
    ):
        raise ValueError(f"Nome inválido: use de 1 a {MAXIMO_DO_NOME} caracteres, sem colchetes.")
    return nome


def _une_emojis(nome: str, lugar: int) -> bool:
    """Diz se o invisível que está em `lugar` é o ZWJ entre dois emojis."""
    antes, depois = nome[:lugar].removesuffix(_VARIANTE_COLORIDA)[-1:], nome[lugar + 1 : lugar + 2]
    # Entre os símbolos do ASCII, como o "+", não há emojis: ali ele só faria um nome passar por outro.
    return nome[lugar] == _ZWJ and all(
        lado and not lado.isascii() and unicodedata.category(lado)[0] == "S" for lado in (antes, depois)
    )


def validar_departamentos(texto: str) -> tuple[str, ...]:
    """Devolve os nomes separados por vírgulas em `texto`, ou levanta `ValueError` se não servem.

    De 1 a 40 caracteres cada um, sem `: [ ] *`, distintos mesmo sem contar maiúsculas; e a lista
    tem de caber numa linha do protocolo.
    """
    nomes = tuple(map(normalizar, texto.split(",")))
    if "" in nomes:
        raise ValueError("há um nome vazio na lista")
    for nome in nomes:
        if len(nome) > MAXIMO_DO_NOME or set(nome) & set(":[]*") or _SUBSTITUTOS.search(nome):
            raise ValueError(f"o departamento {nome!r} não serve: use de 1 a {MAXIMO_DO_NOME} caracteres, sem : [ ] *")
    if len({nome.casefold() for nome in nomes}) < len(nomes):
        raise ValueError("há um departamento repetido")
    if len(Texto().codificar(Pergunta("departamento", nomes))) > MAXIMO_DA_LINHA:
        raise ValueError(f"a lista de departamentos não cabe numa linha de {MAXIMO_DA_LINHA} bytes")
    return nomes


def escolher_departamentos(texto: str, opcoes: Sequence[str], varios: bool) -> tuple[str, ...]:
    """Os nomes de `opcoes` que `texto` escolhe, como estão lá: um ou, se `varios`, também uma lista ou `*`.

    Não importam maiúsculas nem espaços nas pontas. Onde não há departamentos, todos são nenhum. `ValueError` com o
    motivo se a escolha não serve.
    """
    pedidos = [normalizar(pedido).casefold() for pedido in texto.split(",")]
    if varios and pedidos == [TODOS]:
        return tuple(opcoes)
    if not opcoes:
        raise ValueError("Departamento inválido: este servidor não tem departamentos.")
    por_nome = {nome.casefold(): nome for nome in opcoes}
    if not por_nome.keys() >= set(pedidos) or len(pedidos) > 1 and not varios:
        recusa = f"Departamento inválido: escolha entre {', '.join(opcoes)}."
        if len(Texto().codificar(Aviso(recusa))) > MAXIMO_DA_LINHA:  # a lista coube com vírgulas só
            recusa = "Departamento inválido: escolha entre os que o servidor anuncia."
        raise ValueError(recusa)
    return tuple(dict.fromkeys(por_nome[pedido] for pedido in pedidos))


# --- Comandos -----------------------------------------------------------------------------------


class Tipo(enum.Enum):
    """Os dois tipos de usuário do relatório."""

    CLIENTE = "CLIENTE"
    ATENDENTE = "ATENDENTE"


@dataclass(slots=True)
class Entrada:
    """C -> S, a primeira linha: quem se conecta diz o que é. O servidor pergunta o que vier `None`."""

    tipo: Tipo
    departamento: str | None = None  # um; do atendente, também vários separados por vírgula, ou `*`
    nome: str | None = None
    senha: str | None = None


@dataclass(slots=True)
class Pergunta:
    """S -> C, durante a identificação: `campo` é "nome", "senha" ou "departamento", este com opções."""

    campo: str
    opcoes: Sequence[str] = ()


@dataclass(slots=True)
class Resposta:
    """C -> S, logo depois de uma `Pergunta`: o que foi perguntado."""

    campo: str
    texto: str


@dataclass(slots=True)
class Fila:
    """S -> C: a posição do cliente (1 é o próximo), ou `None` para o atendente que ficou livre."""

    posicao: int | None


@dataclass(slots=True)
class Conectado:
    """S -> C: o par foi formado; começa a conversa com `nome`."""

    nome: str


@dataclass(slots=True)
class Mensagem:
    """Chat, nos dois sentidos: o que `nome` disse, uma linha para cada item de `textos`.

    São várias linhas num comando só porque um `recv` traz várias, e elas passam juntas pelo
    servidor: uma seção crítica e um envio para todas.
    """

    nome: str
    textos: Sequence[str]


@dataclass(slots=True)
class Fim:
    """S -> C: a conversa (ou a conexão) acabou, e por quê. C -> S: quem manda quer encerrar."""

    mensagem: str = ""


@dataclass(slots=True)
class Aviso:
    """S -> C: informa, sem mudar o estado de ninguém."""

    mensagem: str


@dataclass(slots=True)
class Consulta:
    """C -> S: como está a fila?"""


@dataclass(slots=True)
class Pausa:
    """C -> S: o atendente deixa de receber clientes."""


@dataclass(slots=True)
class Volta:
    """C -> S: o atendente volta da pausa."""


@dataclass(slots=True)
class Transferencia:
    """C -> S: o atendente manda o cliente com quem conversa para outro departamento."""

    departamento: str


@dataclass(slots=True)
class Pronto:
    """C -> S: o atendente leu o fim da conversa; pode vir o próximo cliente."""


@dataclass(slots=True)
class LinhaLonga:
    """C -> S: no lugar de uma linha que passou do limite e foi descartada."""


NAO_UTF8 = Aviso("Nem tudo o que você mandou é UTF-8; o que não é chega como �.")
"""A resposta à primeira linha que não era UTF-8."""

Pedido = Fim | Consulta | Pausa | Volta | Transferencia | Pronto
Comando = Entrada | Pergunta | Resposta | Fila | Conectado | Mensagem | Aviso | LinhaLonga | Pedido


# --- Enquadramento ------------------------------------------------------------------------------


class SeparadorDeLinhas:
    """Junta os pedaços que o `recv` traz e devolve as linhas que eles completam.

    TCP é um fluxo: uma linha pode chegar em vários pedaços, e um pedaço pode trazer várias linhas.
    O resultado não depende de onde caíram os cortes. A memória fica limitada a uma linha: de uma
    maior que `maximo`, tudo até o `\\n` é descartado.
    """

    def __init__(self, maximo: int = MAXIMO_DA_LINHA) -> None:
        self._maximo = maximo  # bytes
        self.resto = b""  # o começo de uma linha que ainda não tem o seu \n
        # O que se tira dos pedaços antes de os separar, enquanto houver o que tirar.
        self._tirar: Callable[[bytes], bytes] | None = self._tirar_o_bom
        self._ja_avisou = False  # que nem tudo era UTF-8

    def alimentar(self, dados: bytes) -> list[str | Aviso | None]:
        """Devolve, na ordem, as linhas que `dados` completa: já limpas, sem o `\\n` nem o `\\r` antes dele.

        Um `None` marca uma linha longa demais, e aparece assim que ela passa do limite, sem
        esperar o fim dela. Bytes que não são UTF-8 viram U+FFFD; antes da primeira linha que os traz,
        vem o aviso que se deve a quem a mandou.
        """
        if self._tirar:
            dados = self._tirar(dados)
        bloco, quebra, self.resto = (self.resto + dados).rpartition(b"\n")
        linhas: list[str | Aviso | None] = []
        if quebra:
            invalido = False
            try:
                linhas = bloco.decode().split("\n")
            except UnicodeDecodeError:
                linhas, invalido = bloco.decode("utf-8", "replace").split("\n"), True
            # Nada do que a limpeza retira é `isprintable`, e quase todo bloco já chega limpo.
            if not "".join(linhas).isprintable():
                linhas = [limpar(linha.removesuffix("\r")) for linha in linhas]
            # Só um bloco maior que o limite pode esconder uma linha longa; só aí se mede cada uma.
            if len(bloco) >= self._maximo:
                tamanhos = map(len, bloco.split(b"\n"))
                linhas = [linha if tamanho < self._maximo else None for linha, tamanho in zip(linhas, tamanhos)]
            if invalido and not self._ja_avisou:
                self._avisar(linhas, bloco.split(b"\n"))
        if len(self.resto) >= self._maximo:
            self.resto, self._tirar = b"", self._tirar_o_fim_da_longa
            linhas.append(None)
        return linhas

    def _avisar(self, linhas: list[str | Aviso | None], como_vieram: list[bytes]) -> None:
        """Põe o aviso antes da primeira das `linhas` que não era UTF-8; as descartadas não contam."""
        for lugar, (linha, bytes_dela) in enumerate(zip(linhas, como_vieram)):
            if linha is not None and bytes_dela.decode("utf-8", "ignore").encode() != bytes_dela:
                linhas.insert(lugar, NAO_UTF8)
                self._ja_avisou = True
                return

    def _tirar_o_bom(self, dados: bytes) -> bytes:
        """Só o do começo da conexão, que pode chegar aos pedaços."""
        dados, self.resto = self.resto + dados, b""
        if len(dados) < len(BOM) and BOM.startswith(dados):
            return dados  # ainda não se sabe
        self._tirar = None
        return dados.removeprefix(BOM)

    def _tirar_o_fim_da_longa(self, dados: bytes) -> bytes:
        _, quebra, depois = dados.partition(b"\n")
        if quebra:
            self._tirar = None
        return depois


# --- Os formatos de fio -------------------------------------------------------------------------


# Em UTF-8 um caractere tem no máximo 4 bytes: até aqui, a mensagem cabe na linha com qualquer nome,
# e a linha comum dispensa codificar só para medir.
_CABE_SEMPRE = MAXIMO_DA_LINHA // 4 - MAXIMO_DO_NOME - len("[]: \n")


def _cabe(nome: str, texto: str) -> bool:
    """Diz se a mensagem, com o prefixo e o `\\n`, cabe numa linha do protocolo."""
    return len(f"[{nome}]: {texto}\n".encode()) <= MAXIMO_DA_LINHA


def _por_tipo(tabela: Mapping[str, tuple[type, str | None]]) -> dict[type, tuple[str, str | None]]:
    """A mesma tabela de palavras, para quem escreve: do tipo do comando à palavra e ao campo."""
    return {tipo: (palavra, campo) for palavra, (tipo, campo) in tabela.items()}


class Formato:
    """Como os comandos vão para o fio e voltam dele. Um objeto por conexão.

    `nome` é o de quem está do outro lado, vazio até a identificação. As subclasses dizem a forma de
    uma linha; o que é igual nos dois formatos está aqui.
    """

    maximo = MAXIMO_DA_LINHA
    """Bytes da maior linha que o servidor manda neste formato."""

    def __init__(self, nome: str = "") -> None:
        self.nome = nome
        # Bytes de uma linha além do texto: o prefixo ou, em JSON, também as chaves. O aviso que responde
        # a uma mensagem que não pôde ser entregue não é muito maior.
        self._em_volta = len(nome.encode("utf-8", "replace")) + 50

    def codificar(self, comando: Comando) -> bytes:
        """Devolve o comando como vai para o fio, com o `\\n` de cada linha."""
        raise NotImplementedError

    # No servidor: o que vem de um participante.

    def ler_entrada(self, linha: str | None) -> Entrada:
        """Interpreta a primeira linha da conexão; `ValueError` com o motivo da recusa."""
        raise NotImplementedError

    def ler_resposta(self, campo: str, linha: str | None) -> Resposta:
        """Interpreta a linha que responde à `Pergunta(campo)`; a longa demais vale como inválida.

        `ValueError` se a linha não é uma resposta.
        """
        raise NotImplementedError

    def ler_participante(self, linhas: Iterable[str | Aviso | None]) -> list[Comando]:
        """Interpreta o que chegou de quem já se identificou; mensagens seguidas saem juntas, até `MAXIMO_DO_FATO`.

        Linhas em branco não dizem nada. A mensagem que só passa do limite com o prefixo é tão longa
        quanto as outras. Um `Aviso` é o que o servidor deve responder ao que não se entendeu.
        """
        comandos: list[Comando] = []
        seguidas: list[str] | None = None
        ocupam = 0  # bytes que as seguidas ocupam na saída, no máximo
        for linha in linhas:
            if isinstance(linha, str):
                lida = self._ler_do_participante(linha)
            else:
                lida = linha or LinhaLonga()  # um aviso do separador já é a resposta
            if isinstance(lida, str):
                if len(lida) <= _CABE_SEMPRE or _cabe(self.nome, lida):
                    if seguidas is None or ocupam > MAXIMO_DO_FATO:
                        seguidas, ocupam = [], 0
                        comandos.append(Mensagem(self.nome, seguidas))
                    seguidas.append(lida)
                    ocupam += self._em_volta + (len(lida) if lida.isascii() else 4 * len(lida))
                    continue
                lida = LinhaLonga()
            if lida is not None:
                comandos.append(lida)
                seguidas = None
        return comandos

    def _ler_do_participante(self, linha: str) -> Comando | str | None:
        """Um comando, o texto de uma mensagem ou, da linha que não diz nada, `None`."""
        raise NotImplementedError

    # Nos programas de terminal: o que vem do servidor.

    def ler_servidor(self, linhas: Iterable[str | Aviso | None]) -> list[Comando]:
        """Interpreta o que chegou do servidor; o que não se entende é descartado."""
        textos = (linha for linha in linhas if isinstance(linha, str))
        return [comando for linha in textos if (comando := self._ler_do_servidor(linha))]

    def _ler_do_servidor(self, linha: str) -> Comando | None:
        raise NotImplementedError


def formato_de(inicio: bytes) -> Formato:
    """O formato de uma conexão, pelos primeiros bytes da sua primeira linha."""
    return Json() if inicio.removeprefix(BOM).startswith(b"{") else Texto()


class Texto(Formato):
    """O protocolo do relatório: uma linha de texto por comando, com a palavra do comando no começo."""

    # O que vem depois da palavra e dos dois-pontos: o campo do comando, ou nada. Pela ordem da página do protocolo.
    _DO_SERVIDOR = {"CONECTADO": (Conectado, "nome"), "FIM": (Fim, "mensagem"), "AVISO": (Aviso, "mensagem")}
    _DO_PARTICIPANTE = {
        "FIM": (Fim, "mensagem"),
        "FILA": (Consulta, None),
        "PAUSA": (Pausa, None),
        "VOLTA": (Volta, None),
        "TRANSFERIR": (Transferencia, "departamento"),
        "PRONTO": (Pronto, None),
    }
    _PALAVRAS = _por_tipo(_DO_SERVIDOR | _DO_PARTICIPANTE)

    def __init__(self, nome: str = "") -> None:
        super().__init__(nome)
        self._prefixo = f"[{nome}]: "

    def codificar(self, comando: Comando) -> bytes:
        match comando:
            case Mensagem():
                prefixo = f"[{comando.nome}]: "
                linha = prefixo + f"\n{prefixo}".join(comando.textos)
            case Fila(posicao):
                linha = "FILA:OK" if posicao is None else f"FILA:{posicao}"
            case Pergunta(campo, opcoes):
                linha = f"{campo.upper()}:{','.join(opcoes)}"
            case Entrada(tipo, None):
                linha = tipo.value
            case Entrada(tipo, departamento):
                linha = f"{tipo.value}:{departamento}"
            case Resposta(_, texto):
                linha = texto
            case _:
                palavra, campo = self._PALAVRAS[type(comando)]
                linha = f"{palavra}:{getattr(comando, campo)}" if campo else f"{palavra}:"
        return f"{linha}\n".encode("utf-8", "replace")

    def ler_entrada(self, linha: str | None) -> Entrada:
        tipo, dois_pontos, departamento = (linha or "").strip().partition(":")
        try:
            # Nada depois dos dois-pontos não é um tipo nem um departamento.
            return Entrada(Tipo(tipo if departamento else tipo + dois_pontos), departamento or None)
        except ValueError:
            raise ValueError("Tipo inválido: envie CLIENTE ou ATENDENTE.") from None

    def ler_resposta(self, campo: str, linha: str | None) -> Resposta:
        if campo == "departamento" and linha is not None:
            return Resposta(campo, linha.strip() or TODOS)
        return Resposta(campo, linha or "")

    def _ler_do_participante(self, linha: str) -> Comando | str | None:
        """O que não é comando é mensagem, tenha ou não o prefixo `[nome]: ` de quem a mandou."""
        if linha.startswith(self._prefixo):
            linha = linha[len(self._prefixo) :]
        elif ":" in linha:
            palavra, _, argumento = linha.partition(":")
            pedido, campo = self._DO_PARTICIPANTE.get(palavra, (None, None))
            if pedido and campo:
                return pedido(argumento)
            if pedido and not argumento.strip():  # com algo depois dos dois-pontos, `FILA:2` é conversa
                return pedido()
        return linha if linha and not linha.isspace() else None

    def _ler_do_servidor(self, linha: str) -> Comando | None:
        if linha.startswith("["):
            nome, separador, texto = linha[1:].partition("]: ")
            return Mensagem(nome, (texto,)) if separador else None
        palavra, dois_pontos, argumento = linha.partition(":")
        if not dois_pontos:
            return None
        if palavra in self._DO_SERVIDOR:
            comando, _ = self._DO_SERVIDOR[palavra]
            return comando(argumento)
        match palavra:
            case "FILA" if argumento == "OK":
                return Fila(None)
            case "FILA" if argumento.isascii() and argumento.isdigit():
                return Fila(int(argumento))
            case "NOME" | "SENHA":
                return Pergunta(palavra.lower())
            case "DEPARTAMENTO" if argumento:
                return Pergunta("departamento", tuple(argumento.split(",")))
        return None


# --- O formato JSON -----------------------------------------------------------------------------

MAXIMO_DE_NIVEIS = 100
"""Listas e objetos uns dentro dos outros numa linha de JSON. Só se usam dois; milhares esgotam a pilha
da thread que os lê, e há versões do Python que não o percebem a tempo."""


def _recusar_constante(constante: str) -> NoReturn:
    raise ValueError(constante)  # `NaN` e as infinitas não são JSON, embora o Python as leia


_DE_JSON = json.JSONDecoder(parse_constant=_recusar_constante).decode
_EM_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_CADEIAS = re.compile(r'"(?:[^"\\]|\\.)*"?')
_PASSOS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # um nível a mais ou, com sinal, um a menos
_SEM_PASSO = bytes({*range(256)} - {*b"[]{}"})
_SUBSTITUTOS = re.compile("[\ud800-\udfff]")  # soltos: os pares o `json` já uniu


class Json(Formato):
    """Um objeto JSON por linha: `{"comando":"mensagem","texto":"Olá!"}`.

    As mesmas informações do formato de texto, com nome em vez de lugar. Chaves a mais são ignoradas.
    """

    # Cada byte do texto ocupa no máximo 6 (`\u00e9`), e em volta dele há chaves e aspas.
    maximo = 8 * MAXIMO_DA_LINHA

    # A chave que acompanha o comando, e que é também o campo dele; ou nenhuma.
    _DO_SERVIDOR = {"conectado": (Conectado, "nome"), "fim": (Fim, "mensagem"), "aviso": (Aviso, "mensagem")}
    _DO_PARTICIPANTE = {
        "fim": (Fim, None),
        "fila": (Consulta, None),
        "pausa": (Pausa, None),
        "volta": (Volta, None),
        "transferir": (Transferencia, "departamento"),
        "pronto": (Pronto, None),
    }
    _PALAVRAS = _por_tipo(_DO_PARTICIPANTE | _DO_SERVIDOR)

    def codificar(self, comando: Comando) -> bytes:
        match comando:
            case Mensagem(nome, textos):
                # Sem nome deste lado, do outro está o servidor, que sabe quem fala.
                de = {"nome": nome} if self.nome else {}
                objetos = [{"comando": "mensagem", **de, "texto": texto} for texto in textos]
            case Fila(posicao):
                objetos = [{"comando": "fila", "posicao": posicao}]
            case Fim(""):
                objetos = [{"comando": "fim"}]
            case Pergunta("departamento", opcoes):
                objetos = [{"comando": "departamento", "opcoes": list(opcoes)}]
            case Pergunta(campo):
                objetos = [{"comando": campo}]
            case Entrada(tipo, departamento, nome, senha):
                dados = {"nome": nome, "departamento": departamento, "senha": senha}
                sabidos = {chave: valor for chave, valor in dados.items() if valor is not None}
                objetos = [{"comando": tipo.value.lower(), **sabidos}]
            case Resposta(campo, texto):
                objetos = [{"comando": campo, campo: texto}]
            case _:
                palavra, campo = self._PALAVRAS[type(comando)]
                objetos = [{"comando": palavra, **({campo: getattr(comando, campo)} if campo else {})}]
        return "".join(f"{_EM_JSON(objeto)}\n" for objeto in objetos).encode("utf-8", "replace")

    def ler_entrada(self, linha: str | None) -> Entrada:
        objeto = self._objeto(linha)
        match objeto["comando"]:
            case "cliente" | "atendente" as tipo:
                departamento = self._departamento(objeto) if "departamento" in objeto else None
                nome = self._texto(objeto, "nome") if "nome" in objeto else None
                senha = self._texto(objeto, "senha") if "senha" in objeto else None
                return Entrada(Tipo(tipo.upper()), departamento, nome, senha)
        raise ValueError('Tipo inválido: o primeiro comando é "cliente" ou "atendente".')

    def ler_resposta(self, campo: str, linha: str | None) -> Resposta:
        objeto = self._objeto(linha)
        if objeto["comando"] != campo:
            raise ValueError(f'Resposta inválida: o comando esperado é "{campo}".')
        return Resposta(campo, self._departamento(objeto) if campo == "departamento" else self._texto(objeto, campo))

    def _ler_do_participante(self, linha: str) -> Comando | str | None:
        if not linha or linha.isspace():
            return None
        try:
            objeto = self._objeto(linha)
            comando = objeto["comando"]
            if comando == "mensagem":
                texto = self._texto(objeto, "texto")
                return None if not texto or texto.isspace() else texto
            if comando in self._DO_PARTICIPANTE:
                pedido, campo = self._DO_PARTICIPANTE[comando]
                return pedido(self._texto(objeto, campo)) if campo else pedido()
            raise ValueError(f'Comando desconhecido: "{comando[:MAXIMO_DO_NOME]}".')
        except ValueError as erro:
            return Aviso(str(erro))

    def _ler_do_servidor(self, linha: str) -> Comando | None:
        if linha.startswith("FIM:"):  # lotado: antes da nossa primeira linha, o servidor não sabe que falamos JSON
            return Fim(linha[4:])
        try:
            objeto = self._objeto(linha)
            palavra = objeto["comando"]
            if palavra in self._DO_SERVIDOR:
                comando, campo = self._DO_SERVIDOR[palavra]
                return comando(self._texto(objeto, campo))
            match palavra:
                case "mensagem":
                    return Mensagem(self._texto(objeto, "nome"), (self._texto(objeto, "texto"),))
                case "fila":
                    posicao = objeto.get("posicao")
                    return Fila(posicao) if posicao is None or type(posicao) is int and posicao >= 0 else None
                case "nome" | "senha" as campo:
                    return Pergunta(campo)
                case "departamento":
                    return Pergunta("departamento", tuple(self._textos(objeto, "opcoes")))
        except ValueError:
            pass
        return None

    # Do objeto para os valores, com o que há de errado dito em português.

    @classmethod
    def _objeto(cls, linha: str | None) -> Mapping[str, object]:
        """O objeto JSON da linha, que tem de trazer um comando; `ValueError` se não é um."""
        if linha is None:
            raise ValueError(f"Linha longa demais (máximo de {MAXIMO_DA_LINHA} bytes).")
        if linha.count("[") + linha.count("{") > MAXIMO_DE_NIVEIS and _niveis(linha) > MAXIMO_DE_NIVEIS:
            raise ValueError("JSON inválido: há listas e objetos demais, uns dentro dos outros.")
        try:
            objeto = _DE_JSON(linha)
        except ValueError:
            raise ValueError("JSON inválido: mande um objeto por linha.") from None
        if not isinstance(objeto, dict):
            raise ValueError("JSON inválido: mande um objeto por linha.")
        return {**objeto, "comando": cls._texto(objeto, "comando")}

    @classmethod
    def _texto(cls, objeto: Mapping[str, object], chave: str) -> str:
        return cls._limpo(objeto.get(chave), chave)

    @classmethod
    def _textos(cls, objeto: Mapping[str, object], chave: str) -> list[str]:
        itens = objeto.get(chave)
        if not isinstance(itens, list):
            raise ValueError(chave)  # só os programas de terminal o veem, e descartam a linha
        return [cls._limpo(item, chave) for item in itens]

    @classmethod
    def _departamento(cls, objeto: Mapping[str, object]) -> str:
        """Um texto, ou uma lista deles; o que estiver vazio quer dizer todos."""
        lista = isinstance(objeto.get("departamento"), list)
        texto = ",".join(cls._textos(objeto, "departamento")) if lista else cls._texto(objeto, "departamento")
        return texto.strip() or TODOS

    @staticmethod
    def _limpo(valor: object, chave: str) -> str:
        if not isinstance(valor, str):
            raise ValueError(f'Campo "{chave}" inválido: deve ser um texto.')
        if valor.isprintable():  # quase todo texto já vem limpo
            return valor
        return limpar(_SUBSTITUTOS.sub("\ufffd", valor))


def _niveis(linha: str) -> int:
    """Quantas listas e objetos, no máximo, estão abertos ao mesmo tempo; num texto de chat, não contam."""
    # Tudo em C: uma letra por vez, vinte conexões que só mandassem colchetes ocupariam o núcleo.
    passos = _CADEIAS.sub("", linha).encode("utf-8", "replace").translate(_PASSOS, _SEM_PASSO)
    return max(itertools.accumulate(array("b", passos)), default=0)


def lotes_do_servidor(recv: Callable[[int], bytes], formato: Formato) -> Iterator[list[Comando]]:
    """Os comandos que chegam do servidor, os de um `recv` juntos, até o fim do fluxo.

    `recv` é o do socket: quem pede o próximo lote bloqueia nele.
    """
    separador = SeparadorDeLinhas(formato.maximo)
    while dados := recv(16384):
        yield formato.ler_servidor(separador.alimentar(dados))


def comandos_do_servidor(recv: Callable[[int], bytes], formato: Formato | None = None) -> Iterator[Comando]:
    """Os comandos que chegam do servidor, um a um, até o fim do fluxo."""
    return itertools.chain.from_iterable(lotes_do_servidor(recv, formato or Texto()))
