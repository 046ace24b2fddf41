"""O protocolo visto de fora: o que `docs/` promete ao leitor, conferido em sockets de verdade.

A resposta do servidor é a sincronização: nenhum teste dorme, e toda leitura tem prazo. O que cada um lê numa história
qualquer está em `test_extensoes.py`, com o modelo; o que um aluno confere no seu servidor, em `test_conferir.py`. Aqui
está o que um e outro não veem: os casos-limite, os prazos e os sockets.
"""

import json
import logging
import re
import socket
import threading
import time
from unittest.mock import MagicMock, Mock, call

import pytest
from conferidor.regras import (
    DESLIGADO,
    LONGA_DEMAIS,
    NA_FILA,
    NAO_UTF8,
    NOME_INVALIDO,
    PARECE_TELNET,
    SAIU_DA_FILA,
    TIPO_INVALIDO,
    YURI_DESCONECTOU,
)
from participante import FECHOU, PRAZO, Participante
from test_protocolo import casos, cortar

import servidor as modulo
from atendimento.carteiro import Carteiro

ESGOTADO = "FIM:Tempo de identificação esgotado."
LOTADO = "FIM:Servidor lotado; tente mais tarde."


# --- O limite da linha ----------------------------------------------------------------------------


@casos(
    "linha, chega",
    {
        "no-limite": (b"[Yuri]: " + b"a" * 4087, "a" * 4087),
        "um-byte-a-mais": (b"[Yuri]: " + b"a" * 4088, None),
        "no-limite-com-cr": (b"[Yuri]: " + b"a" * 4086 + b"\r", "a" * 4086),
        "o-cr-passa-do-limite": (b"[Yuri]: " + b"a" * 4087 + b"\r", None),
        "no-limite-com-o-prefixo": (b"a" * 4087, "a" * 4087),
        "o-prefixo-passa-do-limite": (b"a" * 4088, None),
        "no-limite-com-acentos": ("é".encode() * 2043, "é" * 2043),
        "acentos-passam-do-limite": ("é".encode() * 2044, None),
        "no-limite-com-bytes-invalidos": (b"\xff" * 1362, "\ufffd" * 1362),
        "bytes-invalidos-passam-do-limite": (b"\xff" * 1363, None),
        "controles-contam": (b"\0" * 4096 + b"a", None),
        "no-limite-depois-de-limpa": (b"a" * 4087 + b"\0" * 8, "a" * 4087),
        "um-mebibyte": (b"a" * 2**20, None),
    },
)
def test_o_limite_da_linha_e_de_4096_bytes(servidor, linha, chega):
    """A linha que cabe chega inteira; a maior é recusada com um aviso, e a conversa continua."""
    yuri, ana = servidor.par()
    yuri.envia(linha + b"\n", "e agora?")
    if b"\xff" in linha:
        yuri.espera(NAO_UTF8)
    if chega is None:
        yuri.espera(LONGA_DEMAIS)
    else:
        ana.espera(f"[Yuri]: {chega}")
    ana.espera("[Yuri]: e agora?")
    ana.envia("tudo bem")
    yuri.espera("[Ana]: tudo bem")


@casos("inicio, respostas", {"tipo": (b"", [TIPO_INVALIDO]), "nome": (b"CLIENTE\n", ["NOME:", NOME_INVALIDO])})
@casos("fim", {"sem-quebra": b"", "com-quebra": b"\n"})
def test_a_linha_longa_na_identificacao_e_recusada_na_hora(servidor, inicio, respostas, fim):
    """O servidor não espera o `\\n` de um tipo ou de um nome que já passou do limite."""
    alguem = servidor.conecta()
    alguem.envia(inicio + b"C" * 4097 + fim)
    alguem.espera(*respostas, FECHOU)


# --- Identificação --------------------------------------------------------------------------------

EM_BRANCO = b"\n", b"\r\n", b"   \n", b"\t\n", b"\x00\x1b\n", "\u2028\u00a0\u202e\n".encode()
BOM = b"\xef\xbb\xbf"
OLA_EM_JSON, PRIMEIRO_EM_JSON = b'{"comando":"cliente","nome":"Yuri"}\r\n', '{"comando":"fila","posicao":1}'
LONGA_EM_JSON = '{"comando":"fim","mensagem":"Linha longa demais (máximo de 4096 bytes)."}'
AVISO_EM_JSON = '{"comando":"aviso","mensagem":"Nem tudo o que você mandou é UTF-8; o que não é chega como �."}'


@casos("tamanho", {"um-byte": 1, "dois-bytes": 2, "cinco-bytes": 5, "tudo-junto": 1 << 20})
@casos(
    "dados, respostas",
    {
        "bom": (BOM + b"CLIENTE\nYuri\n", ["NOME:", "FILA:1"]),
        "bom-em-json": (BOM + OLA_EM_JSON, [PRIMEIRO_EM_JSON]),
        "brancas": (b"".join(EM_BRANCO) + b"CLIENTE\nYuri\n", ["NOME:", "FILA:1"]),
        "brancas-em-json": (BOM + b"".join(EM_BRANCO) + OLA_EM_JSON, [PRIMEIRO_EM_JSON]),
        "json-longo": (b"\n{" + b" " * 5000 + b"}\n", [LONGA_EM_JSON, FECHOU]),
        "bom-repetido": (BOM * 2 + b"CLIENTE\n", [TIPO_INVALIDO, FECHOU]),
        "latin-1": ("CRÉDITO\n".encode("latin-1"), [NAO_UTF8, TIPO_INVALIDO, FECHOU]),
        "nome-em-latin-1": ("CLIENTE\nJosé\nJosé\n".encode("latin-1"), ["NOME:", NAO_UTF8, "FILA:1", NA_FILA]),
        "json-em-latin-1": (OLA_EM_JSON.replace(b"Yuri", b"Jos\xff"), [AVISO_EM_JSON, PRIMEIRO_EM_JSON]),
        "telnet": (b"\xff\xfd\x03CLIENTE\r\n", [PARECE_TELNET, FECHOU]),
        "telnet-mais-tarde": (b"CLIENTE\nYu\xffri\n", ["NOME:", NAO_UTF8, "FILA:1"]),
    },
)
def test_o_comeco_da_conexao(servidor, dados, respostas, tamanho):
    """BOM e linhas em branco antes do tipo não contam; do que não é UTF-8 há um aviso, e do Telnet, um motivo."""
    alguem = servidor.conecta()
    for pedaco in cortar(dados, tamanho):
        alguem.envia(pedaco)
    alguem.espera(*respostas)


# O que já se disse antes da linha que falta, e o que o servidor respondeu.
ANTES_DA_LINHA = {
    "o tipo": ((), []),
    "o nome do cliente": (("CLIENTE",), ["NOME:"]),
    "a senha": (("ATENDENTE",), ["SENHA:"]),
    "o nome do atendente": (("ATENDENTE", "xadrez"), ["SENHA:", "NOME:"]),
}


def test_o_prazo_de_cada_linha_da_identificacao(abrir_servidor):
    """Quem não termina uma linha é desconectado no prazo, pingue ou não; quem já se identificou pode ficar calado."""
    servidor = abrir_servidor(prazo_identificacao=0.5, senha="xadrez")
    yuri, ana = servidor.cliente("Yuri", "FILA:1"), servidor.conecta("Ana")
    ana.envia("ATENDENTE", "xadrez", "Ana")
    ana.espera("SENHA:", "NOME:", "CONECTADO:Yuri")
    mudos, pingando = [], []
    for linha, (ditas, antes) in ANTES_DA_LINHA.items():
        for todos, faz, comeco in (mudos, "cala", b""), (pingando, "pinga", b"A"):
            todos.append(servidor.conecta(f"{faz} {linha}"))
            todos[-1].envia(*ditas, comeco)  # o prazo já corre: tudo de uma vez
            todos[-1].espera(*antes)
    limite = time.monotonic() + PRAZO
    while no_prazo := [alguem for alguem in pingando if not alguem.tem_o_que_ler(espera=0.01)]:
        assert time.monotonic() < limite, f"cada byte renovou o prazo: {[alguem.nome for alguem in no_prazo]}"
        for alguem in no_prazo:
            alguem.envia(b"A")
    for alguem in pingando:
        meia = "••••" if alguem.nome == "pinga a senha" else "A+"
        assert re.fullmatch(ESGOTADO.replace(".", f': "{meia}" chegou sem o fim de linha.'), alguem.linha())
        alguem.espera(FECHOU)
    for alguem in mudos:
        alguem.espera(ESGOTADO, FECHOU)
    yuri.espera("CONECTADO:Ana")
    yuri.envia("ainda aqui")
    ana.espera("[Yuri]: ainda aqui")


MEIAS_LINHAS = {
    b"C" * 41: "C" * 40 + "…",
    b"C" * 40: "C" * 40,
    b"CLI\x1b\xe9": "CLI\ufffd",
    b"\n\n \t": "",
    b'{"senha":"xadrez"': "••••",
}


def test_a_meia_linha_na_recusa(abrir_servidor):
    """O motivo repete o começo da linha a que faltou o fim, sem o que não se veria e sem a senha."""
    servidor, todos = abrir_servidor(prazo_identificacao=0.3), []
    for meia in MEIAS_LINHAS:
        todos.append(servidor.conecta(f"quem disse {meia!r}"))
        todos[-1].envia(meia)
    for alguem, repetida in zip(todos, MEIAS_LINHAS.values()):
        linha, fim = alguem.linha(), f': "{repetida}" chegou sem o fim de linha.' if repetida else "."
        if linha.startswith("{"):
            linha = f"FIM:{json.loads(linha)['mensagem']}"
        assert linha == ESGOTADO.replace(".", fim), alguem.nome


@casos("dito", {"nada": b"", "meio-tipo": b"CLI", "so-o-tipo": b"CLIENTE\n", "meio-nome": b"CLIENTE\nYu"})
@casos(
    "vai_embora",
    {"fecha": Participante.fecha, "some": Participante.some, "fecha-a-sua-metade": Participante.para_de_escrever},
)
def test_quem_vai_embora_sem_se_identificar_nao_deixa_rastro(servidor, dito, vai_embora):
    """Uma conexão que acaba antes do nome não entra em fila nenhuma."""
    alguem = servidor.conecta()
    alguem.envia(dito)
    vai_embora(alguem)
    servidor.espera_que_fechem()
    servidor.cliente("Beto", "FILA:1")


@casos(
    "tentativa",
    {
        "outra": b"dama\n",
        "prefixo": b"xadre\n",
        "maiuscula": b"Xadrez\n",
        "vazia": b"\n",
        "acentos": "xadréz\n".encode(),
        "espacos": b" xadrez\n",
        "bytes-invalidos": b"\xff\xfe\n",
        "longa": b"x" * 5000,
    },
)
def test_a_senha_incorreta(abrir_servidor, tentativa):
    """Quem erra a senha é desconectado sem que lhe peçam o nome."""
    ana = abrir_servidor(senha="xadrez").conecta("Ana")
    ana.envia(b"ATENDENTE\n" + tentativa)
    ana.espera("SENHA:", *[NAO_UTF8] * (b"\xff" in tentativa), "FIM:Senha incorreta.", FECHOU)


# --- A conversa -----------------------------------------------------------------------------------


@casos("quem", {"cliente": "cliente", "atendente": "atendente"})
@casos(
    "sai, fez",
    {
        "fecha": (Participante.fecha, "desconectou"),
        "fecha-a-sua-metade": (Participante.para_de_escrever, "desconectou"),
        "encerra": (lambda alguem: alguem.envia("FIM:"), "encerrou a conversa"),
    },
)
def test_a_mensagem_de_quem_fecha_em_seguida_chega_antes_do_fim(servidor, quem, sai, fez):
    """Mil linhas e a saída logo depois: chegam as mil, na ordem, e só então o `FIM:`."""
    yuri, ana = servidor.par()
    fala, ouve = (yuri, ana) if quem == "cliente" else (ana, yuri)
    fala.envia(*(f"linha {i}" for i in range(1000)))
    sai(fala)
    ouve.espera(*(f"[{fala.nome}]: linha {i}" for i in range(1000)))
    ouve.espera(f"FIM:Atendimento encerrado. O {quem} {fala.nome} {fez}.")


# --- A despedida, o servidor cheio e o servidor que encerra ---------------------------------------


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


@casos(
    "antes, fim",
    {
        "lotado": (b"", LOTADO),
        "tipo": (b"GERENTE\n", TIPO_INVALIDO),
        "nome": (b"CLIENTE\n[]\n", NOME_INVALIDO),
        "saida-da-fila": (b"CLIENTE\nYuri\nFIM:\n", SAIU_DA_FILA),
    },
)
def test_a_despedida_chega_a_quem_ainda_escreve(abrir_servidor, antes, fim):
    """Bytes que o servidor não leu não apagam o `FIM:` de quem é desconectado."""
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


@casos("maximo", {"recusado": 2, "lotado": 0})
def test_depois_do_fim_o_servidor_espera_o_outro_fechar(abrir_servidor, monkeypatch, maximo):
    """Fechar antes dele mandaria um RST, que em alguns sistemas apaga o `FIM:` ainda não lido."""
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 100 * PRAZO)
    servidor = abrir_servidor(maximo=maximo)
    fica, sai = servidor.conecta(), servidor.conecta()
    for alguem in fica, sai:
        alguem.envia("GERENTE")
        alguem.le_ate(FECHOU)
    fica.envia(LIXO)
    sai.fecha()
    servidor.espera_que_fechem(servidor.aceitas[1])  # o carteiro já visitou as duas
    assert servidor.aceitas[0] in servidor.conexoes.values()
    fica.fecha()
    servidor.espera_que_fechem()


def test_quem_ouve_o_fim_e_nao_fecha_e_fechado(servidor, monkeypatch):
    """O servidor não guarda para sempre a conexão de quem foi desconectado e não desliga."""
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 0.01)
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
    todos = [mudo, sem_nome, *servidor.par(), servidor.cliente("Beto", "FILA:1"), servidor.cliente("Caio", "FILA:2")]
    encerrando = threading.Thread(target=servidor.encerrar)
    encerrando.start()
    for alguem in todos:
        alguem.espera(DESLIGADO, FECHOU)
        alguem.fecha()
    encerrando.join(PRAZO)
    assert not encerrando.is_alive()
    with pytest.raises(ConnectionRefusedError):
        servidor.conecta()


def test_encerrar_espera_aos_poucos(servidor, monkeypatch):
    """Nenhuma espera é longa: o sinal que chega logo antes dela só é tratado quando ela acaba."""
    servidor.cliente("Yuri", "FILA:1")
    esperas, esperar = [], servidor.mudou.wait
    monkeypatch.setattr(servidor.mudou, "wait", lambda segundos: esperas.append(segundos) or esperar(segundos))
    servidor.encerrar(prazo=0.15)
    assert len(esperas) > 1 and max(esperas) <= 0.1


def test_encerrar_nao_espera_por_quem_nao_fecha(servidor):
    """Vencido o prazo de encerrar, quem ainda não fechou é cortado, também quem já se despedia."""
    recusado = servidor.conecta()
    recusado.envia("GERENTE")
    recusado.espera(TIPO_INVALIDO, FECHOU)
    yuri, ana = servidor.par()
    servidor.encerrar(prazo=0.01)
    assert not servidor.conexoes
    for alguem in yuri, ana:
        assert set(alguem.le_ate(FECHOU)) <= {DESLIGADO}  # a tão curto prazo, o corte pode vir antes da despedida


# --- O socket, o endereço e o log -----------------------------------------------------------------


def test_o_servidor_descobre_quem_some_sem_fechar(servidor):
    """Cada conexão tem o keepalive do TCP ligado, com os prazos do projeto."""
    servidor.cliente("Yuri", "FILA:1")
    sock = servidor.aceitas[0].sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_KEEPIDLE"):
        opcoes = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT
        assert [sock.getsockopt(socket.IPPROTO_TCP, opcao) for opcao in opcoes] == [30, 10, 3]


def test_um_erro_numa_conexao_fica_no_log_e_as_outras_seguem(servidor, monkeypatch, erros_no_log):
    """O erro nosso desconecta só quem o causou; o log diz quem foi, e o quê."""
    monkeypatch.setattr("conftest.ServidorDeTeste.handle_error", modulo.Servidor.handle_error)
    yuri, ana = servidor.par()
    monkeypatch.setattr(servidor.filas, "atender", lambda quem, pedido: {}[quem.nome])
    endereco = yuri.sock.getsockname()
    yuri.envia("FIM:")
    ana.espera(YURI_DESCONECTOU, "FILA:OK")
    servidor.cliente("Beto", "CONECTADO:Ana")
    assert erros_no_log == [f"Falha ao atender {endereco}: KeyError('Yuri')"]
    erros_no_log.clear()


def test_a_porta_se_reserva_antes_de_ser_tomada(abrir_servidor, monkeypatch):
    """No Windows, é o que impede outro programa de escutar nela: tem de vir antes do `bind`."""
    passos, tomar = [], socket.socket.bind
    monkeypatch.setattr(modulo.maquina, "reservar_porta", lambda _: passos.append("reserva"))
    monkeypatch.setattr(socket.socket, "bind", lambda *args: passos.append("toma") or tomar(*args))
    abrir_servidor()
    assert passos == ["reserva", "toma"]


def test_o_log_conta_quem_chega_e_quem_nao_se_identifica(abrir_servidor, caplog):
    """O log diz quem entrou, de onde e para onde, e quem não entrou e por quê; a thread tem o nome de quem atende."""
    caplog.set_level(logging.INFO, "fila")
    servidor, portas = abrir_servidor(departamentos=("Vendas", "Suporte")), []
    for dito in b"CLIENTE\n", b"GERENTE\n", b"ATENDENTE\nAna\nSUPORTE, Vendas,suporte\n":
        alguem = servidor.conecta()
        portas.append(alguem.sock.getsockname()[1])
        alguem.envia(dito)
        alguem.linha()
        alguem.para_de_escrever()
        alguem.le_ate(FECHOU)
        servidor.espera_que_fechem()
    deles = [linha for linha in caplog.records if linha.threadName.startswith("conexao-")]
    assert [(linha.threadName, linha.marca, linha.getMessage()) for linha in deles] == [
        ("conexao-1", "DISCONNECT", f"127.0.0.1:{portas[0]} foi embora sem se identificar."),
        ("conexao-2", "DISCONNECT", f"127.0.0.1:{portas[1]} falhou na identificação: {TIPO_INVALIDO[4:]}"),
        ("conexao-3 Ana", "CONNECT", f"Ana (ATENDENTE) conectou de 127.0.0.1:{portas[2]} para Suporte, Vendas."),
        ("conexao-3 Ana", "DISCONNECT", "Ana (ATENDENTE) desconectou."),
    ]


def test_em_ipv6(abrir_servidor, caplog):
    """O servidor também atende num endereço de IPv6, que o log põe entre colchetes."""
    caplog.set_level(logging.INFO, "fila")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("esta máquina não tem IPv6")
    servidor = abrir_servidor(host="::1")
    yuri = Participante((), sock=socket.create_connection(servidor.server_address[:2]))
    yuri.envia("CLIENTE", "Yuri")
    yuri.espera("NOME:", "FILA:1")
    assert f"Yuri (CLIENTE) conectou de [::1]:{yuri.sock.getsockname()[1]}." in caplog.messages
    yuri.fecha()


def test_quem_espera_que_todos_saiam_sabe_quando(servidor, monkeypatch):
    """A conexão que já acabou fecha-se na hora, e é um aviso: quem encerra não espera a ronda, nem o prazo inteiro."""
    monkeypatch.setattr(Carteiro, "INSISTIR_A_CADA", 100 * PRAZO)
    avisos, avisar = [], servidor.mudou.notify_all
    monkeypatch.setattr(servidor.mudou, "notify_all", lambda: (avisos.append(len(servidor.conexoes)), avisar()))
    servidor.cliente("Yuri", "FILA:1").fecha()
    servidor.espera_que_fechem()
    assert avisos == [0]


@casos("saem, vezes", {"ninguem-sai": (0, 10), "sai-um": (1, 1)})
def test_com_muitas_de_saida_o_porteiro_as_apressa(monkeypatch, caplog, saem, vezes):
    """Acima das que podem se despedir ao mesmo tempo, ele espera que uma se feche, por um segundo, e só então segue."""
    servidor, agora = modulo.Servidor(("127.0.0.1", 0), modulo.Filas(), maximo=0), [100.0]
    servidor.server_close()

    def esperar(segundos: float) -> None:
        agora[0] = round(agora[0] + segundos, 1)
        for numero in range(1, 1 + saem):
            servidor.conexoes.pop(numero, None)

    monkeypatch.setattr("time.monotonic", lambda: agora[0])
    servidor.carteiro = Mock(apressar=Mock(side_effect=[None] * vezes))
    servidor.mudou = MagicMock(wait=esperar)
    servidor.conexoes = {numero: MagicMock() for numero in range(33)}
    servidor.process_request(0, ("10.0.0.7", 5000))
    assert servidor.carteiro.mock_calls == [call.apressar()] * vezes + [call.enterrar(servidor.conexoes[0])]
    assert servidor.conexoes[0].entregar.mock_calls == [call((modulo.LOTADO, modulo.FIM_DE_FLUXO))]
    assert caplog.messages == [f"Recusada a conexão de 10.0.0.7: {LOTADO[4:]}"]


def test_encerrar_antes_de_o_porteiro_comecar(abrir_servidor, monkeypatch):
    """O sinal que chega enquanto o servidor sobe: o laço que não tinha começado começa, e acaba."""
    pedir, comecar = modulo.Servidor.shutdown, modulo.Servidor.servir
    monkeypatch.setattr(modulo.Servidor, "servir", lambda servidor: None)
    monkeypatch.setattr(modulo.Servidor, "shutdown", lambda servidor: (comecar(servidor), pedir(servidor)))
    servidor = abrir_servidor()
    encerrando = threading.Thread(target=servidor.encerrar, daemon=True)
    encerrando.start()
    encerrando.join(PRAZO)
    assert not encerrando.is_alive()
    servidor.porteiro.join(PRAZO)
