"""O protocolo visto de fora: o que `docs/` promete ao leitor, conferido em sockets de verdade.

A resposta do servidor é a sincronização: nenhum teste dorme, e toda leitura tem prazo.
"""

import itertools
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from participante import FECHOU, PRAZO, Participante

LONGA_DEMAIS = "AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada."
NA_FILA = "AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente."
LIMITE_NA_FILA = "AVISO:Limite de mensagens na espera atingido; a mensagem não foi guardada."
SEM_CLIENTE = "AVISO:Nenhum cliente conectado; a mensagem não foi enviada."
TIPO_INVALIDO = "FIM:Tipo inválido: envie CLIENTE ou ATENDENTE."
NOME_INVALIDO = "FIM:Nome inválido: use de 1 a 40 caracteres, sem colchetes."
ESGOTADO = "FIM:Tempo de identificação esgotado."
LOTADO = "FIM:Servidor lotado; tente mais tarde."
SAIU_DA_FILA = "FIM:Você saiu da fila."
VOCE_ENCERROU = "FIM:Atendimento encerrado. Você encerrou a conversa."
YURI_ENCERROU = "FIM:Atendimento encerrado. O cliente Yuri encerrou a conversa."
YURI_DESCONECTOU = "FIM:Atendimento encerrado. O cliente Yuri desconectou."
ANA_ENCERROU = "FIM:Atendimento encerrado. O atendente Ana encerrou a conversa."
ANA_DESCONECTOU = "FIM:Atendimento encerrado. O atendente Ana desconectou."
DESLIGADO = "FIM:Servidor encerrado."

FAMILIA = "👨\u200d👩\u200d👧"  # três emojis unidos por ZWJ


def casos(tabela: dict):
    """Os casos de uma tabela `nome: valores`, para o `parametrize`."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), id=nome) for nome, v in tabela.items()]


VAI_EMBORA = casos(
    {"fecha": Participante.fecha, "some": Participante.some, "fecha-a-sua-metade": Participante.para_de_escrever}
)


# --- 1. Enquadramento -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tamanho", casos({"um-byte": 1, "cinco-bytes": 5, "quatro-kib": 4096, "tudo-junto": 1 << 20})
)
def test_o_resultado_nao_depende_do_tamanho_dos_pedacos(servidor, tamanho):
    """O mesmo fluxo de bytes dá as mesmas linhas, cortado onde for."""
    ana, yuri = servidor.atendente("Ana", "FILA:OK"), servidor.conecta("Yuri")
    fluxo = f"CLIENTE\r\nYuri\nolá\r\n[Yuri]: ação {FAMILIA}\n\n{'x' * 5000}\ntchau\n".encode()
    for inicio in range(0, len(fluxo), tamanho):
        yuri.envia(fluxo[inicio : inicio + tamanho])
    yuri.espera("NOME:", "CONECTADO:Ana", LONGA_DEMAIS)
    ana.espera("CONECTADO:Yuri", "[Yuri]: olá", f"[Yuri]: ação {FAMILIA}", "[Yuri]: tchau")


def test_o_telnet_termina_as_linhas_com_crlf(servidor):
    """Um `\\r` antes do `\\n` não faz parte do tipo, do nome nem da mensagem."""
    ana, yuri = servidor.conecta("Ana"), servidor.conecta("Yuri")
    ana.envia(b"ATENDENTE\r\nAna\r\n")
    ana.espera("NOME:", "FILA:OK")
    yuri.envia(b"CLIENTE\r\nYuri\r\noi\r\nFIM:\r\n")
    yuri.espera("NOME:", "CONECTADO:Ana", VOCE_ENCERROU, FECHOU)
    ana.espera("CONECTADO:Yuri", "[Yuri]: oi", YURI_ENCERROU, "FILA:OK")


@pytest.mark.parametrize(
    "linha, chega",
    casos(
        {
            "no-limite": (b"[Yuri]: " + b"a" * 4087 + b"\n", "[Yuri]: " + "a" * 4087),
            "um-byte-a-mais": (b"[Yuri]: " + b"a" * 4088 + b"\n", None),
            "no-limite-com-cr": (b"[Yuri]: " + b"a" * 4086 + b"\r\n", "[Yuri]: " + "a" * 4086),
            "o-cr-passa-do-limite": (b"[Yuri]: " + b"a" * 4087 + b"\r\n", None),
            "no-limite-com-o-prefixo": (b"a" * 4087 + b"\n", "[Yuri]: " + "a" * 4087),
            "o-prefixo-passa-do-limite": (b"a" * 4088 + b"\n", None),
            "no-limite-com-acentos": ("é".encode() * 2043 + b"\n", "[Yuri]: " + "é" * 2043),
            "acentos-passam-do-limite": ("é".encode() * 2044 + b"\n", None),
            "no-limite-com-bytes-invalidos": (b"\xff" * 1362 + b"\n", "[Yuri]: " + "\ufffd" * 1362),
            "bytes-invalidos-passam-do-limite": (b"\xff" * 1363 + b"\n", None),
            "controles-contam": (b"\0" * 4096 + b"a\n", None),
            "um-mebibyte": (b"a" * 2**20 + b"\n", None),
        }
    ),
)
def test_o_limite_da_linha_e_de_4096_bytes(servidor, linha, chega):
    """A linha que cabe chega inteira; a maior é recusada com um aviso, e a conversa continua."""
    yuri, ana = servidor.par()
    yuri.envia(linha, "e agora?")
    if chega is None:
        yuri.espera(LONGA_DEMAIS)
    else:
        ana.espera(chega)
    ana.espera("[Yuri]: e agora?")
    ana.envia("tudo bem")
    yuri.espera("[Ana]: tudo bem")


def test_a_linha_longa_e_recusada_antes_de_terminar_e_uma_vez_so(servidor):
    """O aviso não espera o `\\n`, e o resto da linha não vira mensagem."""
    yuri, ana = servidor.par()
    yuri.envia(b"a" * 5000)
    yuri.espera(LONGA_DEMAIS)
    yuri.envia(b"b" * 5000, b"[Yuri]: ainda a mesma\n", "outra")
    ana.espera("[Yuri]: outra")
    ana.envia("recebi")
    yuri.espera("[Ana]: recebi")


@pytest.mark.parametrize(
    "inicio, respostas",
    casos({"tipo": (b"", [TIPO_INVALIDO]), "nome": (b"CLIENTE\n", ["NOME:", NOME_INVALIDO])}),
)
@pytest.mark.parametrize("fim", casos({"sem-quebra": b"", "com-quebra": b"\n"}))
def test_a_linha_longa_na_identificacao_e_recusada_na_hora(servidor, inicio, respostas, fim):
    """O servidor não espera o `\\n` de um tipo ou de um nome que já passou do limite."""
    alguem = servidor.conecta()
    alguem.envia(inicio + b"C" * 4097 + fim)
    alguem.espera(*respostas, FECHOU)


@pytest.mark.parametrize(
    "enviado, chega",
    casos(
        {
            "byte-invalido": (b"a\xffb", "a\ufffdb"),
            "latin-1": ("ação".encode("latin-1"), "a\ufffd\ufffdo"),
            "utf-8-cortado": ("é".encode()[:1], "\ufffd"),
            "tab": (b"a\tb", "a b"),
            "nul-e-campainha": (b"a\x00\x07b", "ab"),
            "ansi-cor": (b"\x1b[31mvermelho\x1b[0m", "[31mvermelho[0m"),
            "ansi-titulo": (b"\x1b]0;titulo\x07oi", "]0;titulooi"),
            "csi-de-um-byte": ("\x9b2Joi".encode(), "2Joi"),
            "cr-no-meio": (b"certo\rerrado", "certoerrado"),
            "apagar": (b"a\x08\x7fb", "ab"),
            "bidirecionais": ("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069oi".encode(), "oi"),
            "separadores": ("a\u2028b\u2029c\x85d".encode(), "abcd"),
            "quebras-antigas": (b"a\x0b\x0c\x1c\x1d\x1eb", "ab"),
            "acentos-e-emojis": (f"Atenção: {FAMILIA} e\u0301".encode(), f"Atenção: {FAMILIA} e\u0301"),
            "marcas-que-ficam": ("a\u200bb\u200fc\ufeffd".encode(), "a\u200bb\u200fc\ufeffd"),
            "espacos-das-pontas": (b"  oi  ", "  oi  "),
        }
    ),
)
def test_a_limpeza_do_texto(servidor, enviado, chega):
    """Nem controle, nem bidirecional, nem byte inválido chega ao par; o resto chega intacto."""
    yuri, ana = servidor.par()
    yuri.envia(enviado + b"\n")
    ana.espera(f"[Yuri]: {chega}")
    ana.envia(enviado + b"\n")
    yuri.espera(f"[Ana]: {chega}")


def test_o_nome_tambem_e_limpo(servidor):
    """Quem põe controles e bytes inválidos no nome aparece sem eles, e o seu prefixo é o nome limpo."""
    ana, yuri = servidor.atendente("Ana", "FILA:OK"), servidor.conecta("Yuri")
    yuri.envia(b"CLIENTE\n \x1b\x07Yu\xffri\tB\xe2\x80\xae \n", b"[Yu\xef\xbf\xbdri B]: oi\n")
    yuri.espera("NOME:", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yu\ufffdri B", "[Yu\ufffdri B]: oi")


def test_as_linhas_em_branco_sao_ignoradas(servidor):
    """Linha vazia, só de espaços ou só de controles não é mensagem, na conversa e na fila."""
    brancas = b"\n", b"\r\n", b"   \n", b"\t\n", b"\x00\x1b\n", "\u2028\u00a0\u202e\n".encode()
    yuri = servidor.cliente("Yuri", "FILA:1")
    yuri.envia(*brancas, "oi")
    yuri.espera(NA_FILA)
    ana = servidor.atendente("Ana", "CONECTADO:Yuri", "[Yuri]: oi")
    ana.envia(*brancas, "olá")
    yuri.espera("CONECTADO:Ana", "[Ana]: olá")


@pytest.mark.parametrize("vai_embora", [Participante.fecha, Participante.para_de_escrever], ids=["fecha", "meia"])
def test_o_que_chega_sem_fim_de_linha_nao_e_mensagem(servidor, vai_embora):
    """A linha que a conexão cortou ao meio não chega a ninguém; as inteiras chegam."""
    yuri, ana = servidor.par()
    yuri.envia("inteira", b"[Yuri]: pela metade")
    vai_embora(yuri)
    ana.espera("[Yuri]: inteira", YURI_DESCONECTOU, "FILA:OK")


# --- 2. Identificação -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tipo",
    casos(
        {
            "outro": b"GERENTE",
            "minusculas": b"cliente",
            "vazio": b"",
            "espacos": b"   ",
            "dois": b"CLIENTE ATENDENTE",
            "comando": b"CLIENTE:",
            "http": b"GET / HTTP/1.1",
            "bytes-invalidos": b"\xff\xfe",
        }
    ),
)
def test_tipo_invalido(servidor, tipo):
    """Quem não diz um dos dois tipos recebe o motivo e é desconectado, mesmo que diga mais."""
    alguem = servidor.conecta()
    alguem.envia(tipo + b"\nYuri\noi\n")
    alguem.espera(TIPO_INVALIDO, FECHOU)


@pytest.mark.parametrize("tipo", ["CLIENTE", "ATENDENTE"], ids=["cliente", "atendente"])
@pytest.mark.parametrize(
    "nome",
    casos(
        {
            "vazio": "",
            "espacos": " \t ",
            "so-controles": "\x1b\x07",
            "longo": "a" * 41,
            "abre-colchete": "[Ana",
            "fecha-colchete": "Ana]",
            "ansi": "\x1b[31mAna",
        }
    ),
)
def test_nome_invalido(servidor, tipo, nome):
    """Quem não diz um nome que sirva recebe o motivo e é desconectado."""
    alguem = servidor.conecta()
    alguem.envia(tipo, nome, "oi")
    alguem.espera("NOME:", NOME_INVALIDO, FECHOU)


@pytest.mark.parametrize(
    "enviado, nome",
    casos(
        {
            "um-caractere": ("Y", "Y"),
            "quarenta": ("é" * 40, "é" * 40),
            "quarenta-emojis": ("🙂" * 40, "🙂" * 40),
            "quarenta-depois-da-limpeza": ("\x1b" * 9 + " " + "a" * 40 + " ", "a" * 40),
            "espacos-nas-pontas": ("  Maria da Silva \t", "Maria da Silva"),
            "dois-pontos": ("Yuri: o Grande", "Yuri: o Grande"),
            "parece-comando": ("FILA:OK", "FILA:OK"),
        }
    ),
)
def test_nome_valido(servidor, enviado, nome):
    """O nome vale depois da limpeza, com 1 a 40 caracteres, e é com ele que se assina."""
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente(enviado, "CONECTADO:Ana")
    ana.espera(f"CONECTADO:{nome}")
    yuri.envia("oi", f"[{nome}]: tchau")
    ana.espera(f"[{nome}]: oi", f"[{nome}]: tchau")


def test_o_nome_so_e_pedido_depois_do_tipo(servidor):
    """O servidor fala depois de quem chega: com meia linha, ainda não diz nada."""
    yuri = servidor.conecta()
    yuri.envia(b"CLI")
    servidor.cliente("Beto", "FILA:1")
    assert not yuri.tem_o_que_ler()
    yuri.envia(b"ENTE\n")
    yuri.espera("NOME:")
    yuri.envia(b"Yu", b"ri\n")
    yuri.espera("FILA:2")


def test_tipo_nome_e_mensagens_no_mesmo_segmento(servidor):
    """O que vem colado à identificação é tratado como se viesse depois."""
    yuri, ana = servidor.conecta("Yuri"), servidor.conecta("Ana")
    yuri.envia("CLIENTE", "Yuri", "oi", "tudo bem?")
    yuri.espera("NOME:", "FILA:1", NA_FILA)
    ana.envia("ATENDENTE", "Ana", "olá", "FIM:", "tchau")
    ana.espera("NOME:", "CONECTADO:Yuri", "[Yuri]: oi", "[Yuri]: tudo bem?", VOCE_ENCERROU, "FILA:OK", SEM_CLIENTE)
    yuri.espera("CONECTADO:Ana", "[Ana]: olá", ANA_ENCERROU, FECHOU)


def test_nomes_repetidos(servidor):
    """Dois clientes, e até um atendente, podem ter o mesmo nome."""
    primeiro, segundo = servidor.cliente("Yuri", "FILA:1"), servidor.cliente("Yuri", "FILA:2")
    xara = servidor.atendente("Yuri", "CONECTADO:Yuri")
    primeiro.espera("CONECTADO:Yuri")
    segundo.espera("FILA:1")
    primeiro.envia("oi")
    xara.espera("[Yuri]: oi")


@pytest.mark.parametrize(
    "inicio, antes",
    casos(
        {
            "tipo": ((), []),
            "nome-do-cliente": (("CLIENTE",), ["NOME:"]),
            "senha": (("ATENDENTE",), ["SENHA:"]),
            "nome-do-atendente": (("ATENDENTE", "xadrez"), ["SENHA:", "NOME:"]),
        }
    ),
)
@pytest.mark.parametrize("pinga", casos({"mudo": False, "pingando": True}))
def test_o_prazo_de_cada_linha_da_identificacao(abrir_servidor, inicio, antes, pinga):
    """Quem não termina a linha é desconectado no prazo; pingar um byte por vez não ganha mais prazo."""
    servidor = abrir_servidor(prazo_identificacao=0.3, senha="xadrez")
    alguem = servidor.conecta()
    alguem.envia(*inicio)
    alguem.espera(*antes)
    limite = time.monotonic() + PRAZO
    while pinga and not alguem.tem_o_que_ler(espera=0.02):
        assert time.monotonic() < limite, "o prazo foi renovado a cada byte"
        alguem.envia(b"A")
    alguem.espera(ESGOTADO, FECHOU)


def test_o_prazo_da_identificacao_acaba_com_ela(abrir_servidor):
    """Quem já se identificou pode ficar calado: o prazo dos outros vence e o dele não."""
    servidor = abrir_servidor(prazo_identificacao=0.5)
    ana, yuri = servidor.conecta("Ana"), servidor.conecta("Yuri")
    ana.envia("ATENDENTE", "Ana")
    ana.espera("NOME:", "FILA:OK")
    yuri.envia("CLIENTE", "Yuri")
    yuri.espera("NOME:", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yuri")
    servidor.conecta().espera(ESGOTADO, FECHOU)
    yuri.envia("ainda aqui")
    ana.espera("[Yuri]: ainda aqui")


@pytest.mark.parametrize(
    "dito",
    casos({"nada": b"", "meio-tipo": b"CLI", "so-o-tipo": b"CLIENTE\n", "meio-nome": b"CLIENTE\nYu"}),
)
@pytest.mark.parametrize("vai_embora", VAI_EMBORA)
def test_quem_vai_embora_sem_se_identificar_nao_deixa_rastro(servidor, dito, vai_embora):
    """Uma conexão que acaba antes do nome não entra em fila nenhuma."""
    alguem = servidor.conecta()
    alguem.envia(dito)
    vai_embora(alguem)
    servidor.espera_que_fechem()
    servidor.cliente("Beto", "FILA:1")


@pytest.mark.parametrize("senha", ["xadrez", "sênha ☂ comprida"], ids=["ascii", "com-acentos"])
def test_a_senha_dos_atendentes(abrir_servidor, senha):
    """A senha é pedida ao atendente antes do nome; o cliente nem fica sabendo dela."""
    servidor = abrir_servidor(senha=senha)
    ana = servidor.conecta("Ana")
    ana.envia("ATENDENTE")
    ana.espera("SENHA:")
    ana.envia(senha)
    ana.espera("NOME:")
    ana.envia("Ana")
    ana.espera("FILA:OK")
    servidor.cliente("Yuri", "CONECTADO:Ana")


@pytest.mark.parametrize(
    "tentativa",
    casos(
        {
            "outra": b"dama\n",
            "prefixo": b"xadre\n",
            "maiuscula": b"Xadrez\n",
            "vazia": b"\n",
            "acentos": "xadréz\n".encode(),
            "bytes-invalidos": b"\xff\xfe\n",
            "longa": b"x" * 5000,
        }
    ),
)
def test_a_senha_incorreta(abrir_servidor, tentativa):
    """Quem erra a senha é desconectado sem que lhe peçam o nome."""
    ana = abrir_servidor(senha="xadrez").conecta("Ana")
    ana.envia(b"ATENDENTE\n" + tentativa)
    ana.espera("SENHA:", "FIM:Senha incorreta.", FECHOU)


# --- 3. Comandos ----------------------------------------------------------------------------------


def test_as_posicoes_na_fila(servidor):
    """Cada cliente sabe a sua posição ao entrar e a cada mudança; quem é chamado vai direto."""
    yuri, beto, caio = (servidor.cliente(nome, f"FILA:{i}") for i, nome in enumerate(("Yuri", "Beto", "Caio"), 1))
    servidor.atendente("Ana", "CONECTADO:Yuri")
    yuri.espera("CONECTADO:Ana")
    beto.espera("FILA:1")
    caio.espera("FILA:2")


def test_quem_sai_da_fila_so_muda_a_posicao_de_quem_vem_atras(servidor):
    """A saída do segundo é contada ao terceiro, e não ao primeiro."""
    yuri, beto, caio = (servidor.cliente(nome, f"FILA:{i}") for i, nome in enumerate(("Yuri", "Beto", "Caio"), 1))
    beto.fecha()
    caio.espera("FILA:2")
    yuri.envia("oi")
    yuri.espera(NA_FILA)


def test_quem_e_pareado_ao_entrar_nao_recebe_fila(servidor):
    """Havendo quem espere do outro lado, o `CONECTADO:` é a primeira resposta."""
    servidor.atendente("Ana", "FILA:OK")
    servidor.cliente("Yuri", "CONECTADO:Ana")
    servidor.cliente("Beto", "FILA:1")
    servidor.atendente("Bia", "CONECTADO:Beto")


def test_as_posicoes_em_rajada_nunca_voltam_atras(servidor):
    """Com dez saídas seguidas as posições podem ser resumidas, mas só diminuem, até a última."""
    clientes = [servidor.cliente(f"C{i}", f"FILA:{i}") for i in range(1, 13)]
    for cliente in clientes[:10]:
        cliente.envia("FIM:")
        cliente.le_ate(SAIU_DA_FILA)
    for ultima, cliente in enumerate(clientes[10:], start=1):
        posicoes = [int(linha.removeprefix("FILA:")) for linha in cliente.le_ate(f"FILA:{ultima}")]
        assert posicoes == sorted(set(posicoes), reverse=True)


def test_mensagens_de_quem_espera(servidor):
    """Até 20 ficam guardadas e chegam, na ordem, logo depois do `CONECTADO:`; as outras não."""
    yuri = servidor.cliente("Yuri", "FILA:1")
    yuri.envia(*(f"mensagem {i}" for i in range(1, 24)))
    yuri.espera(NA_FILA, *[LIMITE_NA_FILA] * 3)
    yuri.envia("mensagem 24")
    yuri.espera(LIMITE_NA_FILA)
    ana = servidor.atendente("Ana")
    yuri.espera("CONECTADO:Ana")
    yuri.envia("e agora ao vivo")
    ana.espera("CONECTADO:Yuri", *(f"[Yuri]: mensagem {i}" for i in range(1, 21)), "[Yuri]: e agora ao vivo")


def test_as_guardadas_tambem_saem_com_o_prefixo_de_quem_falou(servidor):
    """Na fila valem as mesmas regras da conversa: nada digitado vira comando nem fala de outro."""
    yuri = servidor.cliente("Yuri", "FILA:1")
    yuri.envia("[Yuri]: um", "[Ana]: dois", "CONECTADO:Ana", "FILA:1")
    yuri.espera(NA_FILA)
    ana = servidor.atendente("Ana", "CONECTADO:Yuri")
    ana.espera("[Yuri]: um", "[Yuri]: [Ana]: dois", "[Yuri]: CONECTADO:Ana", "[Yuri]: FILA:1")


def test_as_guardadas_de_quem_desiste_nao_chegam_a_ninguem(servidor):
    """O que um cliente deixou pronto vai embora com ele."""
    yuri, beto = servidor.cliente("Yuri", "FILA:1"), servidor.cliente("Beto", "FILA:2")
    yuri.envia("oi", "FIM:")
    yuri.espera(NA_FILA, SAIU_DA_FILA, FECHOU)
    beto.espera("FILA:1")
    beto.envia("sou o Beto")
    beto.espera(NA_FILA)
    servidor.atendente("Ana", "CONECTADO:Beto", "[Beto]: sou o Beto")


def test_o_atendente_sem_cliente_e_avisado(servidor):
    """Cada mensagem do atendente livre é recusada com um aviso, que não muda o estado dele."""
    ana = servidor.atendente("Ana", "FILA:OK")
    ana.envia("alguém?", "ninguém?")
    ana.espera(SEM_CLIENTE, SEM_CLIENTE)
    servidor.cliente("Yuri", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yuri")


# --- 4. Conversa ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "digitado, chega",
    casos(
        {
            "ja-formatada": ("[EU]: Olá!", "[EU]: Olá!"),
            "sem-formatar": ("Olá!", "[EU]: Olá!"),
            "em-nome-do-outro": ("[OUTRO]: oi", "[EU]: [OUTRO]: oi"),
            "em-nome-de-ninguem": ("[]: oi", "[EU]: []: oi"),
            "sem-o-espaco": ("[EU]:oi", "[EU]: [EU]:oi"),
            "com-espaco-antes": (" [EU]: oi", "[EU]:  [EU]: oi"),
            "prefixo-repetido": ("[EU]: [EU]: oi", "[EU]: [EU]: oi"),
            "prefixo-cortado": ("[EU", "[EU]: [EU"),
            "fim-formatado": ("[EU]: FIM:", "[EU]: FIM:"),
            "fim-em-minusculas": ("fim:", "[EU]: fim:"),
            "fim-sem-dois-pontos": ("FIM", "[EU]: FIM"),
            "fim-depois-de-espaco": (" FIM:", "[EU]:  FIM:"),
            "conectado": ("CONECTADO:x", "[EU]: CONECTADO:x"),
            "fila": ("FILA:1", "[EU]: FILA:1"),
            "fila-ok": ("FILA:OK", "[EU]: FILA:OK"),
            "aviso": ("AVISO:x", "[EU]: AVISO:x"),
            "nome": ("NOME:", "[EU]: NOME:"),
            "senha": ("SENHA:", "[EU]: SENHA:"),
            "tipo": ("ATENDENTE", "[EU]: ATENDENTE"),
            "barra": ("/sair", "[EU]: /sair"),
        }
    ),
)
@pytest.mark.parametrize("quem", ["cliente", "atendente"])
def test_o_prefixo_da_mensagem(servidor, quem, digitado, chega):
    """Ninguém fala em nome de outro, e nada que se digite na conversa chega como comando."""
    yuri, ana = servidor.par()
    eu, outro = (yuri, ana) if quem == "cliente" else (ana, yuri)
    escrever = {"EU": eu.nome, "OUTRO": outro.nome}
    for nome in escrever:
        digitado, chega = (texto.replace(nome, escrever[nome]) for texto in (digitado, chega))
    eu.envia(digitado)
    outro.espera(chega)
    eu.envia("segue a conversa")
    outro.espera(f"[{eu.nome}]: segue a conversa")


def test_cada_par_so_ouve_o_seu(servidor):
    """Duas conversas ao mesmo tempo não se misturam, e ninguém recebe o próprio eco."""
    yuri, ana = servidor.par("Yuri", "Ana")
    beto, bia = servidor.par("Beto", "Bia")
    for i in range(20):
        yuri.envia(f"y{i}")
        beto.envia(f"b{i}")
        bia.espera(f"[Beto]: b{i}")
        ana.espera(f"[Yuri]: y{i}")
        ana.envia(f"a{i}")
        bia.envia(f"i{i}")
        yuri.espera(f"[Ana]: a{i}")
        beto.espera(f"[Bia]: i{i}")


# --- 5. Formação de pares e fim -------------------------------------------------------------------


def test_os_primeiros_de_cada_fila_formam_par(servidor):
    """O primeiro cliente vai com o atendente que espera há mais tempo."""
    for posicao, letra in enumerate("ABC", start=1):
        servidor.cliente(f"cliente {letra}", f"FILA:{posicao}")
    for letra in "ABC":
        servidor.atendente(f"atendente {letra}", f"CONECTADO:cliente {letra}")
    for letra in "DEF":
        servidor.atendente(f"atendente {letra}", "FILA:OK")
    for letra in "DEF":
        servidor.cliente(f"cliente {letra}", f"CONECTADO:atendente {letra}")


@pytest.mark.parametrize("vai_embora", VAI_EMBORA)
@pytest.mark.parametrize("ha_outro", [False, True], ids=["sem-fila", "com-fila"])
def test_o_cliente_desconecta(servidor, vai_embora, ha_outro):
    """O atendente recebe o `FIM:` e fica livre, ou já vai com o próximo cliente."""
    yuri, ana = servidor.par()
    if ha_outro:
        servidor.cliente("Beto", "FILA:1")
    vai_embora(yuri)
    ana.espera(YURI_DESCONECTOU, "CONECTADO:Beto" if ha_outro else "FILA:OK")


@pytest.mark.parametrize("vai_embora", VAI_EMBORA)
def test_o_atendente_desconecta(servidor, vai_embora):
    """O cliente recebe o `FIM:` e é desconectado."""
    yuri, ana = servidor.par()
    vai_embora(ana)
    yuri.espera(ANA_DESCONECTOU, FECHOU)
    servidor.cliente("Beto", "FILA:1")


@pytest.mark.parametrize("fim", ["FIM:", "FIM:tchau e bênção"], ids=["seco", "com-texto"])
@pytest.mark.parametrize("ha_outro", [False, True], ids=["sem-fila", "com-fila"])
@pytest.mark.parametrize("quem", ["cliente", "atendente"])
def test_fim_na_conversa(servidor, quem, fim, ha_outro):
    """Os dois recebem o seu `FIM:`; o cliente é desconectado e o atendente volta para a fila."""
    yuri, ana = servidor.par()
    if ha_outro:
        servidor.cliente("Beto", "FILA:1")
    if quem == "cliente":
        yuri.envia("até logo", fim)
        yuri.espera(VOCE_ENCERROU, FECHOU)
        ana.espera("[Yuri]: até logo", YURI_ENCERROU)
    else:
        ana.envia("até logo", fim)
        yuri.espera("[Ana]: até logo", ANA_ENCERROU, FECHOU)
        ana.espera(VOCE_ENCERROU)
    ana.espera("CONECTADO:Beto" if ha_outro else "FILA:OK")


def test_o_que_o_cliente_diz_depois_do_fim_nao_chega(servidor):
    """O `FIM:` é a última linha que conta: o que vem colado a ele é descartado."""
    yuri, ana = servidor.par()
    yuri.envia("FIM:", "tarde demais", "FIM:", b"x" * 9000, "\n")
    yuri.espera(VOCE_ENCERROU, FECHOU)
    ana.espera(YURI_ENCERROU, "FILA:OK")
    servidor.cliente("Beto", "CONECTADO:Ana")
    ana.espera("CONECTADO:Beto")


def test_o_atendente_volta_para_o_fim_da_fila(servidor):
    """Quem acabou de atender passa a vez a quem já esperava."""
    yuri, ana = servidor.par()
    servidor.atendente("Bia", "FILA:OK")
    yuri.fecha()
    ana.espera(YURI_DESCONECTOU, "FILA:OK")
    servidor.cliente("Beto", "CONECTADO:Bia")
    servidor.cliente("Caio", "CONECTADO:Ana")


def test_o_atendente_atende_um_depois_do_outro(servidor):
    """Cinco conversas seguidas com a mesma atendente, cada uma acabada de um jeito."""
    ana = servidor.atendente("Ana", "FILA:OK")
    acabam = [
        (lambda yuri: yuri.fecha(), YURI_DESCONECTOU),
        (lambda yuri: yuri.envia("FIM:"), YURI_ENCERROU),
        (lambda yuri: ana.envia("FIM:"), VOCE_ENCERROU),
        (lambda yuri: yuri.some(), YURI_DESCONECTOU),
        (lambda yuri: yuri.para_de_escrever(), YURI_DESCONECTOU),
    ]
    for acabar, fim in acabam:
        yuri = servidor.cliente("Yuri", "CONECTADO:Ana")
        yuri.envia("oi")
        ana.espera("CONECTADO:Yuri", "[Yuri]: oi")
        acabar(yuri)
        ana.espera(fim, "FILA:OK")


@pytest.mark.parametrize(
    "tipo, fila, outro, fila_do_outro",
    casos(
        {
            "cliente": ("CLIENTE", "FILA:1", "ATENDENTE", "FILA:OK"),
            "atendente": ("ATENDENTE", "FILA:OK", "CLIENTE", "FILA:1"),
        }
    ),
)
def test_fim_fora_da_conversa(servidor, tipo, fila, outro, fila_do_outro):
    """Quem espera e manda `FIM:` sai da fila e é desconectado, seja cliente ou atendente."""
    alguem = servidor.entra(tipo, "Yuri", fila)
    alguem.envia("FIM:")
    alguem.espera(SAIU_DA_FILA, FECHOU)
    servidor.entra(outro, "Beto", fila_do_outro)


def test_fim_duas_vezes_desliga_o_atendente(servidor):
    """O primeiro `FIM:` encerra a conversa; o segundo, já na fila, encerra a conexão."""
    yuri, ana = servidor.par()
    ana.envia("FIM:", "FIM:")
    ana.espera(VOCE_ENCERROU, "FILA:OK", SAIU_DA_FILA, FECHOU)
    yuri.espera(ANA_ENCERROU, FECHOU)


@pytest.mark.parametrize("vai_embora", VAI_EMBORA)
def test_quem_cai_na_fila_nao_e_chamado(servidor, vai_embora):
    """Um cliente e um atendente que caíram esperando não formam par com ninguém."""
    for tipo, fila in ("CLIENTE", "FILA:1"), ("ATENDENTE", "FILA:OK"):
        caido = servidor.entra(tipo, "Caio", fila)
        vai_embora(caido)
        caido.fecha()
        servidor.espera_que_fechem()
    servidor.par("Yuri", "Ana")


# --- O servidor cheio, e o servidor que encerra ---------------------------------------------------


def test_servidor_lotado(abrir_servidor):
    """Acima do teto a conexão é recusada com o motivo, e a vaga de quem sai é de quem chega."""
    servidor = abrir_servidor(maximo=2)
    yuri, ana = servidor.par()
    for _ in range(3):
        servidor.conecta().espera(LOTADO, FECHOU)
    yuri.fecha()
    ana.espera(YURI_DESCONECTOU, "FILA:OK")
    servidor.cliente("Beto", "CONECTADO:Ana")
    ana.espera("CONECTADO:Beto")


LIXO = b"lixo que ninguem vai ler\n" * 10_000  # 250 KB, mais do que se leria de uma vez


@pytest.mark.parametrize(
    "antes, fim",
    casos(
        {
            "lotado": (b"", LOTADO),
            "tipo": (b"GERENTE\n", TIPO_INVALIDO),
            "nome": (b"CLIENTE\n[]\n", NOME_INVALIDO),
            "saida-da-fila": (b"CLIENTE\nYuri\nFIM:\n", SAIU_DA_FILA),
        }
    ),
)
def test_a_despedida_chega_a_quem_ainda_escreve(abrir_servidor, antes, fim):
    """Bytes por ler no servidor não apagam o `FIM:` de quem é desconectado."""
    servidor = abrir_servidor(maximo=1)
    if fim == LOTADO:
        servidor.cliente("Beto", "FILA:1")
    recusado = servidor.conecta()
    recusado.envia(antes + LIXO)
    assert recusado.tem_o_que_ler(PRAZO)
    for _ in range(3):  # o servidor já se despediu; se também já fechou, um destes envios falha
        recusado.envia(LIXO)
    recusado.le_ate(fim)
    recusado.espera(FECHOU)


def test_depois_do_fim_o_servidor_espera_o_outro_fechar(servidor, monkeypatch):
    """Fechar antes dele mandaria um RST, que em alguns sistemas apaga o `FIM:` ainda não lido."""
    monkeypatch.setattr("servidor.DRENAR_POR", 100 * PRAZO)
    recusado = servidor.conecta()
    recusado.envia("GERENTE")
    recusado.espera(TIPO_INVALIDO, FECHOU)
    assert not servidor.conexoes[0].fechou.wait(0.1)
    recusado.envia(LIXO)
    recusado.fecha()
    servidor.espera_que_fechem()


def test_quem_ouve_o_fim_e_nao_fecha_e_fechado(servidor, monkeypatch):
    """O servidor não guarda para sempre a conexão de quem foi desconectado e não desliga."""
    monkeypatch.setattr("servidor.ACORDAR_A_CADA", 0.1)
    monkeypatch.setattr("servidor.DRENAR_POR", 0.1)
    yuri, recusado = servidor.cliente("Yuri", "FILA:1"), servidor.conecta()
    recusado.envia("GERENTE")
    recusado.espera(TIPO_INVALIDO, FECHOU)
    yuri.envia("FIM:")
    yuri.espera(SAIU_DA_FILA, FECHOU)
    servidor.espera_que_fechem()


def test_o_servidor_se_despede_de_todos_ao_encerrar(servidor):
    """Quem conversa, quem espera e quem nem se identificou recebem o mesmo `FIM:`."""
    mudo, sem_nome = servidor.conecta(), servidor.conecta()
    sem_nome.envia("CLIENTE")
    sem_nome.espera("NOME:")
    yuri, ana = servidor.par()
    beto, caio = servidor.cliente("Beto", "FILA:1"), servidor.cliente("Caio", "FILA:2")
    encerrando = threading.Thread(target=servidor.encerrar)
    encerrando.start()
    for alguem in mudo, sem_nome, yuri, ana, beto, caio:
        alguem.espera(DESLIGADO, FECHOU)
        alguem.fecha()
    encerrando.join(PRAZO)
    assert not encerrando.is_alive()
    with pytest.raises(ConnectionRefusedError):
        servidor.conecta()


def test_encerrar_nao_espera_por_quem_nao_fecha(servidor):
    """Vencido o prazo de encerrar, quem ainda não fechou é cortado."""
    yuri, ana = servidor.par()
    servidor.encerrar(prazo=0.1)
    yuri.espera(DESLIGADO, FECHOU)
    ana.espera(DESLIGADO, FECHOU)


def test_encerrar_fecha_tambem_quem_ja_se_despedia(servidor):
    """Quem já tinha recebido o seu `FIM:` e não fechou também é fechado ao encerrar."""
    recusado = servidor.conecta()
    recusado.envia("GERENTE")
    recusado.espera(TIPO_INVALIDO, FECHOU)
    servidor.encerrar(prazo=0.1)
    assert all(conexao.fechou.is_set() for conexao in servidor.conexoes)


def test_a_mesma_porta_reabre_em_seguida(abrir_servidor):
    """Encerrado com conversas em curso, o servidor volta na mesma porta sem esperar."""
    porta = 0
    for _ in range(3):
        servidor = abrir_servidor(porta=porta)
        porta = servidor.server_address[1]
        servidor.par()
        servidor.encerrar(prazo=0.1)  # fecha primeiro: é deste lado que a conexão fica em TIME_WAIT


# --- 6. Garantias ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quem", ["cliente", "atendente"])
@pytest.mark.parametrize(
    "sai, fez",
    casos(
        {
            "fecha": (Participante.fecha, "desconectou"),
            "fecha-a-sua-metade": (Participante.para_de_escrever, "desconectou"),
            "encerra": (lambda eu: eu.envia("FIM:"), "encerrou a conversa"),
        }
    ),
)
def test_a_mensagem_de_quem_fecha_em_seguida_chega_antes_do_fim(servidor, quem, sai, fez):
    """Mil linhas e a saída logo depois: chegam as mil, na ordem, e só então o `FIM:`."""
    yuri, ana = servidor.par()
    eu, outro = (yuri, ana) if quem == "cliente" else (ana, yuri)
    eu.envia(*(f"linha {i}" for i in range(1000)))
    sai(eu)
    outro.espera(*(f"[{eu.nome}]: linha {i}" for i in range(1000)))
    outro.espera(f"FIM:Atendimento encerrado. O {quem} {eu.nome} {fez}.")


@pytest.fixture
def trocas_frequentes():
    """O interpretador troca de thread o mais que pode: a ordem errada rara fica comum."""
    antes = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(antes)


def test_a_ordem_com_muitos_pares_falando_ao_mesmo_tempo(servidor, trocas_frequentes):
    """Quatro pares falam nos dois sentidos, linha a linha: cada um ouve a sequência exata."""
    pares = [servidor.par(f"C{i}", f"A{i}") for i in range(4)]
    sentidos = pares + [(atendente, cliente) for cliente, atendente in pares]

    def fala(de, para):
        for i in range(300):
            de.envia(str(i))

    def ouve(de, para):
        para.espera(*(f"[{de.nome}]: {i}" for i in range(300)))

    with ThreadPoolExecutor(len(sentidos) * 2) as threads:
        tarefas = [threads.submit(acao, *sentido) for acao, sentido in itertools.product((fala, ouve), sentidos)]
    for tarefa in tarefas:
        tarefa.result()


def test_conectado_vem_antes_da_conversa_e_o_fim_depois(servidor, trocas_frequentes):
    """Com sessenta clientes à porta, cada conversa começa, corre e acaba inteira dos dois lados."""
    ana = servidor.atendente("Ana", "FILA:OK")

    def visita(i):
        cliente = servidor.conecta(f"C{i}")
        cliente.envia("CLIENTE", f"C{i}", "oi")
        nome, *esperas = cliente.le_ate("CONECTADO:Ana")
        posicoes = [int(linha.removeprefix("FILA:")) for linha in esperas if linha != NA_FILA]
        assert nome == "NOME:" and posicoes == sorted(set(posicoes), reverse=True)
        cliente.envia("tchau", "FIM:")
        cliente.espera(VOCE_ENCERROU, FECHOU)

    with ThreadPoolExecutor(10) as threads:
        visitas = [threads.submit(visita, i) for i in range(60)]
        vistos = set()
        while len(vistos) < len(visitas):
            if (linha := ana.linha()) != "FILA:OK":
                nome = linha.removeprefix("CONECTADO:")
                ana.espera(f"[{nome}]: oi", f"[{nome}]: tchau")
                ana.espera(f"FIM:Atendimento encerrado. O cliente {nome} encerrou a conversa.")
                vistos.add(nome)
    for visitante in visitas:
        visitante.result()
    ana.espera("FILA:OK")


def test_o_servidor_descobre_quem_some_sem_fechar(servidor):
    """Cada conexão tem o keepalive do TCP ligado, com os prazos do projeto."""
    servidor.cliente("Yuri", "FILA:1")
    sock = servidor.conexoes[0].sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_KEEPIDLE"):
        opcoes = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT
        assert [sock.getsockopt(socket.IPPROTO_TCP, opcao) for opcao in opcoes] == [30, 10, 3]
